"""The network and the step for two metrics and more; no I/O.

Theory of operation. A stateful sequence-to-sequence autoencoder (Srivastava et al.
2015, Malhotra et al. 2016), one step at a time: asinh(z) -> encoder LSTM -> tanh
bottleneck -> decoder LSTM -> reconstruction. Beside it, a linear branch projects z on
the fleet's top singular vectors. Each branch's residual is normalised online by its own
energy and raised to a power. To that is added the surprise of a flatline
(:mod:`training.models.flatline`). The mean over the features that are present is
smoothed at three time scales whose sum E is the reconstruction error. The score is ``2
log10(1 + 1000 E)``: logarithmic, so that its tail is close to exponential, and never
negative. Training sees :class:`AutoencoderNetwork`; :class:`AutoencoderStep`, with the
same weights, is exported.

A stream that training has not seen learns its center and scale from its first
``learning`` points. They are weighted so that the pooled prior fades with the square of
their number; then they are frozen. No learned scale is smaller than the fleet's
smallest.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.history.history import History
from training.models.flatline import WIDTH as RUNS
from training.models.flatline import flatline_surprise
from training.models.layout import StateLayout

# Width of the bottleneck, and of both LSTMs. Three units are enough for the few things
# that the metrics of a machine share.
BOTTLENECK = 3
HIDDEN_MANY = 48
# Scales to which a value is clipped, for the network and for the linear branch.
CLIP = 30.0
LINEAR_CLIP = 10.0
# Time scales of the smoothed errors, in points.
SCALES = (5.0, 30.0, 120.0)
# Least gains of a residual's running bias and energy: spans of 2,000 and 8,000 points.
BIAS_GAIN = 2 / 2001
ENERGY_GAIN = 2 / 8001
# Floor of the energy, a twentieth of the metric's scale: a metric that is usually
# reconstructed well is loud when it is not.
ENERGY_FLOOR = 0.05**2
# Scales to which a residual is clipped, in the energy, in the error, and in the bias.
ENERGY_CAP = 10.0
RESIDUAL_CAP = 20.0
_BIAS_CAP = 1.0
# Weight of the linear branch beside the network.
LINEAR_WEIGHT = 0.5
# Deviation of the noise on the bottleneck in training.
NOISE = 0.05
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

Cells = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


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


def asinh(z: Tensor) -> Tensor:
    """asinh, written out: onnxruntime's own operator is scalar, these are vectors."""
    return torch.sign(z) * torch.log(z.abs() + torch.sqrt(z * z + 1.0))


def power_of(x: Tensor, power: float) -> Tensor:
    """x ** power for x >= 0.

    A multiple of a quarter is a product of x and its square roots, which onnxruntime
    vectorises; it does not vectorise Pow.
    """
    whole, quarters = divmod(power * 4, 4)
    if quarters != int(quarters):
        return x**power
    root = torch.sqrt(x)
    wholes = [x] * int(whole)
    halves = [root] * (int(quarters) // 2)
    rest = [torch.sqrt(root)] * (int(quarters) % 2)
    return functools.reduce(operator.mul, wholes + halves + rest)


class AutoencoderNetwork(nn.Module):
    """The network over a stretch of time, with the training aids that the step drops:
    one-step forecast and log scale.
    """

    def __init__(self, features: int, hidden: int, projection: Tensor | None) -> None:
        super().__init__()
        self.features = features
        self.hidden = hidden
        self.encoder = nn.LSTM(features, hidden, batch_first=True)
        self.bottleneck = nn.Linear(hidden, BOTTLENECK)
        self.decoder = nn.LSTM(BOTTLENECK, hidden, batch_first=True)
        self.output = nn.Linear(hidden, 3 * features)
        none = torch.zeros(0, 0)
        self.register_buffer("projection", none if projection is None else projection)

    def forward(
        self, z: Tensor, state: Cells | None = None, noise: float = 0.0
    ) -> tuple[Tensor, Tensor, Tensor, Cells]:
        """z [B, T, F] scaled -> reconstruction, forecast and log scale [B, T, F], and
        the carried state.
        """
        hidden, encoder = self.encoder(asinh(z), state[0] if state else None)
        code = torch.tanh(self.bottleneck(hidden))
        if noise:
            code = code + noise * torch.randn_like(code)
        hidden, decoder = self.decoder(code, state[1] if state else None)
        reconstruction, forecast, log_scale = self.output(hidden).chunk(3, dim=-1)
        return reconstruction, forecast, log_scale, (encoder, decoder)


def affine(linear: nn.Linear, x: Tensor, dim: int) -> Tensor:
    """``linear`` of a matrix whose inputs are on axis ``dim``, the streams on the
    other.
    """
    if dim == 1:
        found: Tensor = linear(x)
        return found
    return torch.addmm(linear.bias[:, None], linear.weight, x)


def reconstruction_only(network: AutoencoderNetwork) -> nn.Linear:
    """The network's output layer without the training aids."""
    features = network.features
    output = nn.Linear(network.hidden, features)
    weight = network.output.weight[:features]
    bias = network.output.bias[:features]
    output.weight = nn.Parameter(weight.detach().clone())
    output.bias = nn.Parameter(bias.detach().clone())
    return output


class Cell(nn.Module):
    """One step of the standard LSTM cell, one product for the four gates (Hochreiter &
    Schmidhuber 1997; forget gate: Gers et al. 2000).

    Rows are ordered input, forget, output, candidate, so that one sigmoid serves three
    gates.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        hidden = lstm.hidden_size
        i, f, g, o = range(4)
        blocks = [torch.arange(k * hidden, (k + 1) * hidden) for k in (i, f, o, g)]
        order = torch.cat(blocks)
        own = dict(lstm.named_parameters())
        weight = torch.cat([own["weight_ih_l0"], own["weight_hh_l0"]], dim=1)[order]
        bias = (own["bias_ih_l0"] + own["bias_hh_l0"])[order]
        self.hidden = hidden
        self.gates = nn.Linear(lstm.input_size + hidden, 4 * hidden)
        self.gates.weight = nn.Parameter(weight.detach().clone())
        self.gates.bias = nn.Parameter(bias.detach().clone())

    def forward(
        self, x: Tensor, h: Tensor, c: Tensor, dim: int = 1
    ) -> tuple[Tensor, Tensor]:
        """h and c after x. Their units are on axis ``dim``, streams on the other."""
        both = affine(self.gates, torch.cat([x, h], dim=dim), dim)
        widths = [3 * self.hidden, self.hidden]
        gates, candidate = torch.split(both, widths, dim=dim)
        i, f, o = torch.split(torch.sigmoid(gates), self.hidden, dim=dim)
        c = f * c + i * torch.tanh(candidate)
        return o * torch.tanh(c), c


class Residual(nn.Module):
    """What the network and the linear branch fail to reconstruct, each in units of its
    own running energy.
    """

    def __init__(self, features: int, power: float, projection: Tensor) -> None:
        super().__init__()
        self.features = features
        self.power = power
        self.linear = projection.numel() > 0
        self.register_buffer("projection", projection.detach().clone())

    def forward(
        self,
        z: Tensor,
        reconstruction: Tensor,
        present: Tensor,
        bias: Tensor,
        energy: Tensor,
        age: Tensor,
        dim: int = 1,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Error [B, F] of each feature, and bias and energy [B, branches F] after it.

        With ``dim`` 0, all matrices are transposed: [F, B] and so on.
        """
        residual = z - reconstruction
        mask = present
        if self.linear:
            residual = torch.cat([residual, self._unprojected(z, dim)], dim=dim)
            mask = torch.cat([present, present], dim=dim)
        recent = 1.0 / (age + 8.0)
        bias_gain = mask * torch.clamp(0.25 * recent, min=BIAS_GAIN)
        bias = bias + bias_gain * (residual.clamp(-_BIAS_CAP, _BIAS_CAP) - bias)
        size = (residual - bias).abs()
        capped = size.clamp(max=ENERGY_CAP)
        energy_gain = mask * recent.clamp(min=ENERGY_GAIN)
        energy = energy + energy_gain * (capped * capped - energy)
        powered = mask * power_of(size.clamp(max=RESIDUAL_CAP), self.power)
        error = powered / torch.sqrt(energy + ENERGY_FLOOR)
        if self.linear:
            own, linear = torch.split(error, self.features, dim=dim)
            error = own + LINEAR_WEIGHT * linear
        return error, bias, energy

    def _unprojected(self, z: Tensor, dim: int) -> Tensor:
        """What the linear branch leaves of z."""
        inner = z.clamp(-LINEAR_CLIP, LINEAR_CLIP)
        projection = self.get_buffer("projection")
        return z - (inner @ projection if dim == 1 else projection.T @ inner)


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
        dh, dc = self.decoder(torch.tanh(self.bottleneck(eh)), dh, dc)
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
        mean = total / count.clamp(min=1.0)
        change = self.get_buffer("gains") * (mean - errors)
        errors = errors + change * count.clamp(max=1.0)
        score = 2.0 * torch.log10(1.0 + 1000.0 * errors.sum(dim=1))
        head = [eh, ec, dh, dc, center, scale, seen]
        tail = [bias, energy, last, runs, errors, age + 1.0]
        row = torch.cat([*head, *tail], dim=1)
        expected = center + scale * reconstruction
        return score, expected, error / total.clamp(min=1e-12), row

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
