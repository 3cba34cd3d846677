"""The step for two metrics and more; no I/O.

Theory of operation. The network and its residual are those of
:mod:`training.models.autoencoder`. To the residual is added the surprise of a flatline
(:mod:`training.models.flatline`). The mean over the features that are present is
smoothed at three time scales whose sum E is the reconstruction error. The score is ``2
log10(1 + 1000 E)``: logarithmic, so that its tail is close to exponential, and never
negative.

A stream that training has not seen learns its center and scale from its first
``learning`` points. They are weighted so that the pooled prior fades with the square of
their number; then they are frozen. No learned scale is smaller than the fleet's
smallest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.history.history import History
from training.models.autoencoder import (
    AutoencoderNetwork,
    Cell,
    Residual,
    asinh,
    reconstruction_only,
)
from training.models.flatline import WIDTH as RUNS
from training.models.flatline import flatline_surprise
from training.models.layout import StateLayout

# Width of both LSTMs.
HIDDEN_MANY = 48
# Scales to which a value is clipped for the network.
CLIP = 30.0
# Time scales of the smoothed errors, in points.
SCALES = (5.0, 30.0, 120.0)
# Error for each decimal place of a flatline's surprise: three places weigh as much as a
# residual of six deviations.
FLATLINE_WEIGHT = 8.0
# Values beyond are clipped to this: the difference of two is still finite in float32.
LARGEST = 1e37
# The largest deviation whose square is finite in float32.
_FINITE_SQUARE = 1e18
# Scales to which an update of center and scale is clipped, and the points before that.
_UPDATE_CLIP = 5.0
_FREE_UPDATES = 10.0


def state_layout(features: int, hidden: int, branches: int) -> StateLayout:
    """The row of a stream of F features, with H hidden units and 1 or 2 branches."""
    return StateLayout(
        features,
        (
            ("encoder_h", hidden),
            ("encoder_c", hidden),
            ("decoder_h", hidden),
            ("decoder_c", hidden),
            ("center", features),
            ("scale", features),
            ("seen", features),  # points
            ("bias", branches * features),
            ("energy", branches * features),
            ("last", features),  # previous value
            ("runs", RUNS * features),
            ("errors", len(SCALES)),
            ("age", 1),  # steps
        ),
    )


class _Scaling(NamedTuple):
    """A stream's own scaling [B, F]: center, scale, and the points that it rests on."""

    center: Tensor
    scale: Tensor
    seen: Tensor


class AutoencoderStep(nn.Module):
    """ONE step over a batch of streams: what the daemon runs."""

    def __init__(
        self,
        network: AutoencoderNetwork,
        power: float,
        learning: int,
        least: Tensor | None = None,
    ) -> None:
        """``least`` [F]: the fleet's smallest scale, under which no stream learns one
        of its own.
        """
        super().__init__()
        features = network.features
        if least is None:
            least = torch.zeros(features)
        self.register_buffer("least", least.reshape(1, features))
        projection = network.get_buffer("projection")
        branches = 2 if projection.numel() else 1
        self.layout = state_layout(features, network.hidden, branches)
        self.learning = float(learning)
        self.encoder = Cell(network.encoder)
        self.decoder = Cell(network.decoder)
        self.bottleneck = network.bottleneck
        self.output = reconstruction_only(network)
        self.residual = Residual(features, power, projection)
        self.register_buffer("gains", torch.tensor([[2 / (k + 1) for k in SCALES]]))

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].
        """
        parts = torch.split(state, list(self.layout.widths), dim=1)
        eh, ec, dh, dc, *own, bias, energy, last, runs, errors, age = parts
        scaling = _Scaling(*own)
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, scaling.center, x.clamp(-LARGEST, LARGEST))
        scaling = self._scale(filled, present, scaling)
        center, scale, seen = scaling
        z = ((filled - center) / scale).clamp(-CLIP, CLIP) * present
        eh, ec = self.encoder(asinh(z), eh, ec)
        code = torch.tanh(self.bottleneck(eh))
        dh, dc = self.decoder(code, dh, dc)
        reconstruction = self.output(dh)
        error, bias, energy = self.residual(
            z, reconstruction, present, bias, energy, age
        )
        still, *after = flatline_surprise(filled, last, *runs.chunk(RUNS, dim=1))
        error = error + FLATLINE_WEIGHT * present * still
        last = torch.where(missing, last, filled)
        absent = missing.repeat(1, RUNS)
        runs = torch.where(absent, runs, torch.cat(after, dim=1))
        count = present.sum(dim=1, keepdim=True)
        total = error.sum(dim=1, keepdim=True)
        errors = self._smooth(errors, total, count)
        score = 2.0 * torch.log10(1.0 + 1000.0 * errors.sum(dim=1))
        head = [eh, ec, dh, dc, center, scale, seen]
        tail = [bias, energy, last, runs, errors, age + 1.0]
        row = torch.cat([*head, *tail], dim=1)
        expected = center + scale * reconstruction
        share = error / total.clamp(min=1e-12)
        return score, expected, share, row

    def _smooth(self, errors: Tensor, total: Tensor, count: Tensor) -> Tensor:
        """The smoothed errors [B, 3] after a point.

        ``total`` [B, 1] is the error of its ``count`` [B, 1] features together.
        """
        mean = total / count.clamp(min=1.0)
        change = self.get_buffer("gains") * (mean - errors)
        return errors + change * count.clamp(max=1.0)

    def _scale(self, x: Tensor, present: Tensor, before: _Scaling) -> _Scaling:
        """The scaling after a point; frozen once ``learning`` points were seen.

        A weighted mean with weights 1, 2, 3, ... (gain 2 / (n + 2)), so that the first
        points, and the prior most of all, fade quadratically. After ten points an
        update is limited to five scales.
        """
        center, scale, seen = before
        learning = present * (seen < self.learning).float()
        difference = x - center
        is_free = seen < _FREE_UPDATES
        limit = torch.where(is_free, torch.full_like(scale, 3e38), _UPDATE_CLIP * scale)
        difference = torch.minimum(torch.maximum(difference, -limit), limit)
        first = (seen < 1.0).float()
        gain = learning * 2.0 / (seen + 2.0)
        # the first point says what the stream's mean is, and nothing of its variance
        square = difference.clamp(-_FINITE_SQUARE, _FINITE_SQUARE) ** 2
        variance = scale.clamp(max=_FINITE_SQUARE) ** 2
        change = (1.0 - first) * gain * ((1.0 - gain) * square - variance)
        variance = variance + change
        center = center + gain * difference
        least = self.get_buffer("least")
        floor = torch.maximum(1e-3 * center.abs(), least.clamp(min=1e-12))
        learned = torch.maximum(torch.sqrt(variance.clamp(max=1e38)), floor)
        scale = torch.where(learning > 0, learned, scale)
        return _Scaling(center, scale, seen + learning)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network with the weights of its best validation, and how it got there.

    Attributes:
        curve: gradient step, loss and validation loss, as they were recorded.
        start: the validation loss of the weights that the fit went on from, if any.
    """

    network: AutoencoderNetwork
    curve: tuple[tuple[int, float, float], ...]
    start: float | None = None


def first_rows(history: History, layout: StateLayout, learning: int) -> F32:
    """float32 [N, S]: each stream before its first point.

    Its scaling is that of its fit rows, frozen.
    """
    rows = np.zeros((len(history.series), layout.size), np.float32)
    at = layout.slices()
    for row, series in zip(rows, history.series, strict=True):
        row[at["center"]] = series.center
        row[at["scale"]] = series.scale
    rows[:, at["seen"]] = learning
    rows[:, at["energy"]] = 1.0
    return rows


def new_stream_row(history: History, layout: StateLayout, last: F32) -> F32:
    """float32 [S] of a stream that training has not seen.

    It has the fleet's median scaling and, from the fleet's ``last`` rows [N, S], its
    median energy.
    """
    at = layout.slices()
    row = np.zeros(layout.size, np.float32)
    row[at["center"]] = np.median([s.center for s in history.series], axis=0)
    row[at["scale"]] = np.median([s.scale for s in history.series], axis=0)
    for part in ("energy", "errors"):
        row[at[part]] = np.median(last[:, at[part]], axis=0)
    return row
