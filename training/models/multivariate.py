"""The network and the step; no I/O.

Theory of operation. A stateful sequence-to-sequence autoencoder (Srivastava et al.
2015, Malhotra et al. 2016), one step at a time: asinh(z) -> encoder LSTM -> tanh
bottleneck -> decoder LSTM -> reconstruction; a linear branch projects z on the fleet's
top singular vectors. Each branch's residual is normalised online by its own energy and
raised to a power; to that is added by how much the metric stands still as it never did
(:mod:`training.models.flatline`). The mean over the features that are present is
smoothed at three time scales whose sum E is the reconstruction error; the score is ``2
log10(1 + 1000 E)``: logarithmic, so that its tail is close to exponential, and never
negative. :class:`Sequence` is what training sees, :class:`Step` what is exported; the
weights are the same.

The state row, in this order (see :class:`Layout`): encoder h and c, decoder h and c [H
each] · center, scale, points seen [F each] · bias and energy of each branch's residual
[branches * F each] · last value and what there is to know of its runs [F + 3 F] · three
smoothed errors · age in steps. A stream that training has not seen learns its center
and scale from its first ``learning`` points, weighted so that the pooled prior fades
with the square of their number; then they are frozen. No scale is learnt that is
smaller than the smallest of the fleet.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.models.flatline import WIDTH as STILL
from training.models.flatline import stillness

BOTTLENECK = 3
HIDDEN_MANY = 48
CLIP = 30.0
LINEAR_CLIP = 10.0
SCALES = (5.0, 30.0, 120.0)
BIAS_GAIN = 2 / 2001
ENERGY_GAIN = 2 / 8001
ENERGY_FLOOR = 0.05**2
ENERGY_CAP = 10.0
RESIDUAL_CAP = 20.0
LINEAR_WEIGHT = 0.5
NOISE = 0.05
# of a decimal place of surprise that a metric stands still: three of them weigh as a
# residual of six deviations
STILL_WEIGHT = 8.0
LARGEST = 1e37  # values beyond are taken for this: differences of two stay finite


@dataclass(frozen=True, slots=True)
class Layout:
    """Where each part of a state row [S] lies, for F features, H hidden units and one
    or two branches.
    """

    features: int
    hidden: int
    branches: int

    @property
    def widths(self) -> tuple[int, ...]:
        f = self.features
        h = self.hidden
        b = self.branches
        return (h, h, h, h, f, f, f, b * f, b * f, f, STILL * f, len(SCALES), 1)

    @property
    def size(self) -> int:
        return sum(self.widths)

    def slices(self) -> dict[str, slice]:
        names = (
            "encoder_h",
            "encoder_c",
            "decoder_h",
            "decoder_c",
            "center",
            "scale",
            "seen",
            "bias",
            "energy",
            "last",
            "stood",
            "errors",
            "age",
        )
        start = 0
        found = {}
        for name, width in zip(names, self.widths, strict=True):
            found[name] = slice(start, start + width)
            start += width
        return found


def asinh(z: Tensor) -> Tensor:
    """asinh, written out: onnxruntime's own operator is scalar, these are vectorised."""
    return torch.sign(z) * torch.log(z.abs() + torch.sqrt(z * z + 1.0))


def powered(x: Tensor, power: float) -> Tensor:
    """x ** power for x >= 0; a multiple of a quarter is products and square roots,
    which onnxruntime vectorises, as it does not Pow.
    """
    whole, quarters = divmod(power * 4, 4)
    if quarters != int(quarters):
        return x**power
    root = torch.sqrt(x)
    factors = (
        [x] * int(whole)
        + [root] * (int(quarters) // 2)
        + [torch.sqrt(root)] * (int(quarters) % 2)
    )
    return functools.reduce(operator.mul, factors)


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
        self.register_buffer(
            "projection", torch.zeros(0, 0) if projection is None else projection
        )

    def forward(
        self,
        z: Tensor,
        state: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
        noise: float = 0.0,
    ) -> tuple[
        Tensor, Tensor, Tensor, tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]
    ]:
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
    """``linear`` of what lies on axis ``dim`` of a matrix, the streams on the other."""
    return (
        linear(x) if dim == 1 else torch.addmm(linear.bias[:, None], linear.weight, x)
    )


class Cell(nn.Module):
    """One step of the standard LSTM cell (Hochreiter & Schmidhuber 1997; forget gate:
    Gers et al. 2000), one product for the four gates.

    Rows are ordered input, forget, output, candidate, so that one sigmoid serves three
    gates.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        hidden = lstm.hidden_size
        i, f, g, o = range(4)
        order = torch.cat(
            [torch.arange(k * hidden, (k + 1) * hidden) for k in (i, f, o, g)]
        )
        own = dict(lstm.named_parameters())
        weight = torch.cat([own["weight_ih_l0"], own["weight_hh_l0"]], dim=1)[order]
        self.hidden = hidden
        self.gates = nn.Linear(lstm.input_size + hidden, 4 * hidden)
        self.gates.weight = nn.Parameter(weight.detach().clone())
        self.gates.bias = nn.Parameter(
            (own["bias_ih_l0"] + own["bias_hh_l0"])[order].detach().clone()
        )

    def forward(
        self, x: Tensor, h: Tensor, c: Tensor, dim: int = 1
    ) -> tuple[Tensor, Tensor]:
        """h and c after x; what they hold lies on axis ``dim``, the streams on the
        other.
        """
        gates, candidate = torch.split(
            affine(self.gates, torch.cat([x, h], dim=dim), dim),
            [3 * self.hidden, self.hidden],
            dim=dim,
        )
        i, f, o = torch.split(torch.sigmoid(gates), self.hidden, dim=dim)
        c = f * c + i * torch.tanh(candidate)
        return o * torch.tanh(c), c


class Residual(nn.Module):
    """What the reconstruction leaves, and what the linear branch leaves, each in units
    of its own running energy.
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
        """Error [B, F] of each feature, and bias and energy [B, branches * F] after the
        step; or, with ``dim`` 0, [F, B] and so on.
        """
        residual = z - reconstruction
        mask = present
        if self.linear:
            inner = z.clamp(-LINEAR_CLIP, LINEAR_CLIP)
            projection = self.get_buffer("projection")
            residual = torch.cat(
                [
                    residual,
                    z - (inner @ projection if dim == 1 else projection.T @ inner),
                ],
                dim=dim,
            )
            mask = torch.cat([present, present], dim=dim)
        young = 1.0 / (age + 8.0)
        bias = bias + mask * torch.clamp(0.25 * young, min=BIAS_GAIN) * (
            residual.clamp(-1.0, 1.0) - bias
        )
        size = (residual - bias).abs()
        capped = size.clamp(max=ENERGY_CAP)
        energy = energy + mask * young.clamp(min=ENERGY_GAIN) * (
            capped * capped - energy
        )
        error = (
            mask
            * powered(size.clamp(max=RESIDUAL_CAP), self.power)
            / torch.sqrt(energy + ENERGY_FLOOR)
        )
        if self.linear:
            own, linear = torch.split(error, self.features, dim=dim)
            error = own + LINEAR_WEIGHT * linear
        return error, bias, energy


class AutoencoderStep(nn.Module):
    """ONE step over a batch of streams: what the daemon runs."""

    def __init__(
        self,
        network: AutoencoderNetwork,
        power: float,
        learning: int,
        least: Tensor | None = None,
    ) -> None:
        """``least`` [F]: the smallest scale of the fleet, under which no stream learns
        one of its own.
        """
        super().__init__()
        features = network.features
        self.register_buffer(
            "least",
            torch.zeros(1, features) if least is None else least.reshape(1, features),
        )
        self.layout = Layout(
            features,
            network.hidden,
            2 if network.get_buffer("projection").numel() else 1,
        )
        self.learning = float(learning)
        self.encoder = Cell(network.encoder)
        self.decoder = Cell(network.decoder)
        self.bottleneck = network.bottleneck
        self.output = nn.Linear(network.hidden, features)
        self.output.weight = nn.Parameter(
            network.output.weight[:features].detach().clone()
        )
        self.output.bias = nn.Parameter(network.output.bias[:features].detach().clone())
        self.residual = Residual(features, power, network.get_buffer("projection"))
        self.register_buffer("gains", torch.tensor([[2 / (k + 1) for k in SCALES]]))

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].
        """
        eh, ec, dh, dc, center, scale, seen, bias, energy, last, stood, errors, age = (
            torch.split(state, list(self.layout.widths), dim=1)
        )
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, center, x.clamp(-LARGEST, LARGEST))
        center, scale, seen = self._scaling(filled, present, center, scale, seen)
        z = ((filled - center) / scale).clamp(-CLIP, CLIP) * present
        eh, ec = self.encoder(asinh(z), eh, ec)
        dh, dc = self.decoder(torch.tanh(self.bottleneck(eh)), dh, dc)
        reconstruction = self.output(dh)
        error, bias, energy = self.residual(
            z, reconstruction, present, bias, energy, age
        )
        still, *after = stillness(filled, last, *stood.chunk(STILL, dim=1))
        error = error + STILL_WEIGHT * present * still
        last = torch.where(missing, last, filled)
        stood = torch.where(missing.repeat(1, STILL), stood, torch.cat(after, dim=1))
        count = present.sum(dim=1, keepdim=True)
        total = error.sum(dim=1, keepdim=True)
        mean = total / count.clamp(min=1.0)
        errors = errors + self.get_buffer("gains") * (mean - errors) * count.clamp(
            max=1.0
        )
        score = 2.0 * torch.log10(1.0 + 1000.0 * errors.sum(dim=1))
        next_state = torch.cat(
            [
                eh,
                ec,
                dh,
                dc,
                center,
                scale,
                seen,
                bias,
                energy,
                last,
                stood,
                errors,
                age + 1.0,
            ],
            dim=1,
        )
        return (
            score,
            center + scale * reconstruction,
            error / total.clamp(min=1e-12),
            next_state,
        )

    def _scaling(
        self, x: Tensor, present: Tensor, center: Tensor, scale: Tensor, seen: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Center, scale and count after a point; frozen once ``learning`` points were
        seen.

        A weighted mean with weights 1, 2, 3, ... (gain 2 / (n + 2)), so that the first
        points, and the prior most of all, fade quadratically; after ten points a step
        is limited to five scales.
        """
        learning = present * (seen < self.learning).float()
        difference = x - center
        limit = torch.where(seen < 10.0, torch.full_like(scale, 3e38), 5.0 * scale)
        difference = torch.minimum(torch.maximum(difference, -limit), limit)
        first = (seen < 1.0).float()
        gain = learning * 2.0 / (seen + 2.0)
        # the first point says where the stream is and nothing about how much it varies
        square = difference.clamp(-1e18, 1e18) ** 2
        variance = scale.clamp(max=1e18) ** 2
        variance = variance + (1.0 - first) * gain * ((1.0 - gain) * square - variance)
        center = center + gain * difference
        floor = torch.maximum(
            1e-3 * center.abs(), self.get_buffer("least").clamp(min=1e-12)
        )
        learnt = torch.maximum(torch.sqrt(variance.clamp(max=1e38)), floor)
        return center, torch.where(learning > 0, learnt, scale), seen + learning


@dataclass(frozen=True, slots=True)
class Fitted:
    """The network with the weights of the best validation, and how it got there: (step,
    loss, validation loss).

    ``start``: the validation loss of the weights that it went on from, if there were
    any.
    """

    network: AutoencoderNetwork
    curve: tuple[tuple[int, float, float], ...]
    start: float | None = None
