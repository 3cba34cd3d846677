"""What the step for single metrics remembers of a stream, beside its front's part."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from training.models.layout import StateLayout
from training.models.surprise import Front

# Centroids of the sketch of F.
RANKED = 15


def state_layout(features: int, hidden: int, front: Front) -> StateLayout:
    """The row of a stream of F features with H hidden units."""
    channels = front.inputs * features
    return StateLayout(
        features,
        (
            ("encoder_h", hidden),
            ("encoder_c", hidden),
            ("decoder_h", hidden),
            ("decoder_c", hidden),
            ("bias", 2 * channels),
            ("energy", 2 * channels),
            ("error", 1),
            ("fused", 1),
            ("tick", 1),
            ("hot", 1),  # 1 in an incident
            ("held", 1),  # seconds that counted towards acceptance
            ("ranked", RANKED),
            ("ranks", RANKED),
            ("front", front.size * features),
        ),
    )


#: The first six parts of a stream's state.
NetworkState = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class StreamState(NamedTuple):
    """What the step keeps of each stream beside the front's part, each [width, B].

    The names and their order are those of :func:`state_layout`.
    """

    encoder_h: Tensor
    encoder_c: Tensor
    decoder_h: Tensor
    decoder_c: Tensor
    bias: Tensor
    energy: Tensor
    error: Tensor
    fused: Tensor
    tick: Tensor
    hot: Tensor
    held: Tensor
    ranked: Tensor
    ranks: Tensor
