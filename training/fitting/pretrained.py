"""What is known of a detector before its history is read.

For a single metric, it is what the built-in bundle learned from synthetic streams.

Theory of operation. One metric's surprises look much the same for every metric while
nothing is wrong, and so does how often its score reaches a threshold by chance
(:mod:`training.models.univariate`). A few days of history are little to learn that
from. So a fit on one metric goes on from the built-in weights. It keeps them if its own
steps do no better on its validation rows (:mod:`training.fitting.train`). The built-in
rates are a prior of its own (:class:`training.fitting.calibrate.Prior`). The lean front
has other channels and other scores: of those nothing is known.

Of the network on many metrics only the rates of its score are known
(:mod:`training.fitting.many_metrics_prior`).
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from detector.events import F32
from detector.model.bundle import BUILTIN, load_bundle, sha256
from training.errors import TrainingError
from training.fitting.calibrate import Prior
from training.fitting.many_metrics_prior import many_metrics_prior
from training.fitting.train import Weights
from training.models.autoencoder import AutoencoderNetwork
from training.models.univariate import HIDDEN, MAX_FEATURES
from training.settings import FitSettings

# The weights, a file of the built-in bundle; the daemon does not use it.
NETWORK = "network.npz"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """What a fit goes on from.

    ``weights`` are None if the network has another shape.
    """

    prior: Prior
    weights: Weights | None


def pretrained_for(
    settings: FitSettings, features: int, tick: float
) -> Pretrained | None:
    """For the full network; None for any other detector.

    ``tick`` is the fleet's, in seconds. Raises TrainingError, BundleError.
    """
    if settings.detector != "lstm" or settings.lean:
        return None
    if features > MAX_FEATURES:
        return Pretrained(many_metrics_prior(tick), None)
    manifest = load_bundle(BUILTIN).manifest
    alike = settings.hidden in (None, HIDDEN)
    return Pretrained(
        Prior(manifest.tail, manifest.tick_interval),
        _weights(BUILTIN, manifest.files.get(NETWORK, "")) if alike else None,
    )


def packed(network: AutoencoderNetwork) -> dict[str, F32]:
    """The weights by their names in the module."""
    return {
        name: tensor.detach().numpy() for name, tensor in network.state_dict().items()
    }


def _weights(bundle: Path, digest: str) -> Weights:
    try:
        data = (bundle / NETWORK).read_bytes()
    except OSError as error:
        raise TrainingError(
            f"the package's {bundle / NETWORK} can't be read ({error.strerror}): "
            "install the package again"
        ) from None
    if sha256(data) != digest:
        raise TrainingError(
            f"the package's {bundle / NETWORK} is not the file that its manifest was "
            "made for: install the package again"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}
