"""The autoencoder and its residual, which both steps share; no I/O.

A stateful sequence-to-sequence autoencoder (Srivastava et al. 2015, Malhotra et al.
2016), one step at a time: asinh(z) -> encoder LSTM -> tanh bottleneck -> decoder LSTM
-> reconstruction. Beside it, a linear branch projects z on the fleet's top singular
vectors. Each branch's residual is normalised online by its own energy and raised to a
power. Training sees :class:`AutoencoderNetwork`; the steps, which have the same
weights, are exported.
"""

from __future__ import annotations

import functools
import operator

import torch
from torch import Tensor, nn

# Width of the bottleneck. Three units are enough for the few things that the metrics
# of a machine share.
BOTTLENECK = 3
# Scales to which a value is clipped for the linear branch.
LINEAR_CLIP = 10.0
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

Cells = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


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
        self,
        x: Tensor,
        h: Tensor,
        c: Tensor,
        dim: int = 1,
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
        gate: Tensor | float = 1.0,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Error [B, F] of each feature, and bias and energy [B, branches F] after it.

        ``gate`` is 0 where bias and energy learn nothing. With ``dim`` 0, all matrices
        are transposed: [F, B] and so on.
        """
        residual = z - reconstruction
        mask = present
        if self.linear:
            residual = torch.cat([residual, self._unprojected(z, dim)], dim=dim)
            mask = torch.cat([present, present], dim=dim)
        recent = 1.0 / (age + 8.0)
        bias_gain = gate * mask * torch.clamp(0.25 * recent, min=BIAS_GAIN)
        bias = bias + bias_gain * (residual.clamp(-_BIAS_CAP, _BIAS_CAP) - bias)
        size = (residual - bias).abs()
        capped = size.clamp(max=ENERGY_CAP)
        energy_gain = gate * mask * recent.clamp(min=ENERGY_GAIN)
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
