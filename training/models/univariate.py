"""The step for single metrics: surprises, an autoencoder over them, and one score.

Theory of operation. The network reads the signed surprises of
:mod:`training.models.surprise`: six for each metric, four for a lean one. Its residual
energy E is that of :mod:`training.models.multivariate` with one quick time scale. A
metric's own evidence is the weighted mean of its channels' one-sided surprises. To that
is added the surprise of a flatline (:mod:`training.models.flatline`), because a metric
that froze is unsurprising in every other way. Metrics are combined by their root mean
square, so that one strongly anomalous metric is not averaged away. F is the mean of
that evidence and of 2 log10 E, in which E weighs as one channel. E and F are smoothed
over three points, so that a single odd reading must be twice as odd. Then

    score = 2 F + R - 0.8 log10(age / 1000) + 4

with R the surprise of F itself in the stream's own past. Part of the score says how
rare the point is, in decimal places that mean the same for every stream. Part says how
rare it is for this stream. A new stream, whose past is short, scores a little higher.
The 4 keeps the score positive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.models.autoencoder import (
    AutoencoderNetwork,
    Cell,
    Residual,
    affine,
    asinh,
    power_of,
    reconstruction_only,
)
from training.models.columns import as_row, as_rows, columns, total
from training.models.day_profile import slot_of
from training.models.layout import StateLayout
from training.models.learning_gate import Gate, after_point, is_shut
from training.models.sketch import BIG, Place, Sketch
from training.models.surprise import LARGEST, SETTLED, Front
from training.models.surprise_state import Point, Surprises

# Metrics that this step takes. From two on, what moves together is told better from
# each other than from each one's own past: VUS-PR on made hosts of two, three and four
# metrics is .80, .84, .83 there and .78, .70, .69 here
# (docs/experiments/recorded-figures.md).
MAX_FEATURES = 1
# Width of both LSTMs.
HIDDEN = 16
# Centroids of the sketch of F, and its memory for each point: some 5,000 points.
_RANKED = 15
_RANK_MEMORY = 0.9998
# Gains of the running means of the error, three points, and of F, two.
_QUICK = 0.5
_PROMPT = 0.7
# The power of which the channels' surprises are a mean
# (docs/experiments/learning-gate.md).
_POWER = 1.5
# Least evidence, as a share of the mean surprise of the channels that answer to one
# point; those are the value, its change and the quick residual.
_AT_ONCE = 0.7
# Keeps the logarithm of the evidence finite.
_LEAST_EVIDENCE = 1e-9
# Keeps the logarithm of the error finite.
_LEAST_ERROR = 1e-3
# The ages, in points, between which a stream's age counts, and its weight.
_NEW = 100.0
_OLD = 1e6
_AGE_WEIGHT = 0.8
_SHIFT = 4.0
# Least gain of a stream's tick interval: a memory of 50 points.
_TICK_GAIN = 0.02


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
            ("ranked", _RANKED),
            ("ranks", _RANKED),
            ("front", front.size * features),
        ),
    )


# The first six parts of a stream's state.
_NetworkState = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


class _StreamState(NamedTuple):
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


class UnivariateStep(nn.Module):
    """ONE step over a batch of streams of few metrics: what the daemon runs."""

    def __init__(
        self,
        network: AutoencoderNetwork,
        power: float,
        features: int,
        front: Front,
    ) -> None:
        super().__init__()
        self.layout = state_layout(features, network.hidden, front)
        self.front = front
        self.sketch = Sketch(_RANKED, _RANK_MEMORY)
        self.encoder = Cell(network.encoder)
        self.decoder = Cell(network.decoder)
        self.bottleneck = network.bottleneck
        self.output = reconstruction_only(network)
        projection = network.get_buffer("projection")
        self.residual = Residual(network.features, power, projection)
        weights = torch.tensor([front.weights]) / sum(front.weights)
        self.register_buffer("weights", weights)
        at_once = torch.zeros(1, front.channels)
        at_once[0, [0, 1, -1]] = 1 / 3
        self.register_buffer("at_once", at_once)
        self._points = [name for name, _ in front.layout.parts].index("points")

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].

        Inside, the streams are on the last axis: rows are transposed once on the way in
        and once on the way out.
        """
        x = x.T if self.layout.features > 1 else x.reshape(1, -1)
        since, second, day = clock.T.chunk(3)
        before, metrics = self._split(state)
        points = self._each_stream(metrics[self._points])
        age = points.amax(dim=0, keepdim=True)
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, 0.0, x.clamp(-LARGEST, LARGEST))
        tick = track_interval(before.tick, since, age)
        gate = Gate(before.hot, before.held)
        shut = is_shut(gate, tick, age)
        point = self._point(filled, present, second, day, tick, gate.is_hot, shut)
        found, seen = self.front.observe(point, metrics)
        frozen = 1.0 - shut * gate.is_hot
        errors, network = self._reconstruct(found, present, before, age, frozen)
        some = present.amax(dim=0, keepdim=True)
        count = total(present).clamp(min=1.0)
        error = self._smooth_error(before.error, errors, count, some)
        squares = self._evidence(found, point.present)
        square = total(squares)
        evidence = torch.sqrt(square / count)
        fused = self._fuse(before.fused, evidence, error, age, some)
        score, rank, place, settled = self._score(fused, before, age)
        gate = after_point(
            gate,
            rank,
            some,
            self._each_stream(found.is_still).amin(dim=0, keepdim=True),
            self._each_stream(found.is_lost).amax(dim=0, keepdim=True),
            tick,
        )
        learns = 1.0 - gate.is_hot * shut
        ranked, ranks = self.sketch.learn(place, some * learns, settled, shut)
        metrics = self.front.learn(seen, as_row(learns, self.layout.features))
        share = squares / square.clamp(min=1e-12)
        after = _StreamState(*network, error, fused, tick, *gate, ranked, ranks)
        row = torch.cat([*after, *map(self._each_stream, metrics)])
        return (
            score.reshape(-1),
            as_rows(self._each_stream(found.expected)),
            as_rows(share),
            as_rows(row),
        )

    def _split(self, state: Tensor) -> tuple[_StreamState, list[Tensor]]:
        """Rows [B, S] as the streams' own state and the front's parts [width, F B]."""
        parts = columns(state, self._widths)
        own = len(_StreamState._fields)
        return _StreamState(*parts[:own]), self._each_metric(parts[own:])

    def _point(
        self,
        x: Tensor,
        present: Tensor,
        second: Tensor,
        day: Tensor,
        tick: Tensor,
        is_hot: Tensor,
        is_shut: Tensor,
    ) -> Point:
        """A column for each metric, of x and present [F, B] and the rest [1, B]."""
        features = self.layout.features
        return Point(
            x=as_row(x),
            present=as_row(present),
            slot=as_row(slot_of(second), features),
            day=as_row(day, features),
            tick=as_row(tick, features),
            is_hot=as_row(is_hot, features),
            is_shut=as_row(is_shut, features),
        )

    def _reconstruct(
        self,
        found: Surprises,
        present: Tensor,
        before: _StreamState,
        age: Tensor,
        gate: Tensor,
    ) -> tuple[Tensor, _NetworkState]:
        """The network's error of each channel [C F, B], and the network's part of the
        next state, in its order.
        """
        z = self._each_stream(found.signed)
        encoder_h, encoder_c = self.encoder(
            asinh(z),
            before.encoder_h,
            before.encoder_c,
            dim=0,
        )
        code = torch.tanh(affine(self.bottleneck, encoder_h, 0))
        decoder_h, decoder_c = self.decoder(
            code,
            before.decoder_h,
            before.decoder_c,
            dim=0,
        )
        seen = torch.cat([present] * self.front.inputs)
        errors, bias, energy = self.residual(
            z,
            affine(self.output, decoder_h, 0),
            seen,
            before.bias,
            before.energy,
            age,
            dim=0,
            gate=gate,
        )
        return errors, (encoder_h, encoder_c, decoder_h, decoder_c, bias, energy)

    def _smooth_error(
        self,
        error: Tensor,
        errors: Tensor,
        count: Tensor,
        some: Tensor,
    ) -> Tensor:
        """The running mean error [1, B] after the channels' ``errors`` [C F, B].

        ``count`` [1, B] are the metrics that are present, ``some`` is 1 if any is.
        """
        gain = _QUICK * some
        sum_of_errors = total(errors)
        mean_error = sum_of_errors / (self.front.inputs * count)
        return error + gain * (mean_error - error)

    def _evidence(self, found: Surprises, present: Tensor) -> Tensor:
        """The square [F, B] of each metric's own evidence, 0 where it is missing."""
        surprises = found.one_sided
        mean = self.get_buffer("weights") @ power_of(surprises, _POWER)
        logarithm = torch.log(mean + _LEAST_EVIDENCE)
        of_channels = torch.exp(logarithm * (1.0 / _POWER))
        at_once = self.get_buffer("at_once") @ surprises
        of_channels = torch.maximum(of_channels, _AT_ONCE * at_once)
        own = self._each_stream(present * (of_channels + found.flatline))
        return own * own

    def _fuse(
        self,
        fused: Tensor,
        evidence: Tensor,
        error: Tensor,
        age: Tensor,
        some: Tensor,
    ) -> Tensor:
        """F [1, B] after a point: the evidence of the metrics and of the network."""
        weight = sum(self.front.weights)
        of_channels = weight * evidence
        of_network = 2.0 * torch.log10(error + _LEAST_ERROR)
        now = (of_channels + of_network) / (weight + 1.0)
        gain = some * torch.where(age < 0.5, 1.0, _PROMPT)
        return fused + gain * (now - fused)

    def _score(
        self,
        fused: Tensor,
        before: _StreamState,
        age: Tensor,
    ) -> tuple[Tensor, Tensor, Place, Tensor]:
        """The score and the rank of F [1, B], its place in its sketch, and whether that
        knows enough.
        """
        settled = (age > SETTLED - 0.5).float()
        rank, _, _, place = self.sketch(fused, before.ranked, before.ranks)
        thousands = age.clamp(_NEW, _OLD) / 1000.0
        experience = _AGE_WEIGHT * torch.log10(thousands)
        rank = rank * settled
        rarity = 2.0 * fused + rank
        score = (rarity - experience + _SHIFT).clamp(min=0.0)
        return score, rank, place, settled

    @property
    def _widths(self) -> list[int]:
        """Widths of a row's parts, the front's one by one."""
        of_front = [width * self.layout.features for width in self.front.widths]
        return [*self.layout.widths[:-1], *of_front]

    def _each_metric(self, parts: list[Tensor]) -> list[Tensor]:
        """The front's parts [width F, B] with a column for each metric of each stream,
        [width, F B].
        """
        if self.layout.features == 1:
            return parts
        widths = self.front.widths
        return [p.reshape(w, -1) for p, w in zip(parts, widths, strict=True)]

    def _each_stream(self, part: Tensor) -> Tensor:
        """A part of the front [width, F B], a column for each stream: [width F, B]."""
        if self.layout.features == 1:
            return part
        return part.reshape(part.shape[0] * self.layout.features, -1)


def track_interval(tick: Tensor, since: Tensor, age: Tensor) -> Tensor:
    """The stream's own tick interval [1, B] in seconds: a running mean that a gap moves
    little.

    The placeholder interval of the first point is discarded.
    """
    since = since.clamp(min=1e-3)
    step = torch.minimum(torch.maximum(since, 0.5 * tick), 2.0 * tick)
    is_second = age < 1.5
    gain = (1.0 / (age + 1.0)).clamp(min=_TICK_GAIN)
    return torch.where(is_second, since, tick + gain * (step - tick))


def first_row(step: UnivariateStep) -> F32:
    """float32 [S] of a stream before its first point."""
    row = np.zeros(step.layout.size, np.float32)
    at = step.layout.slices()
    row[at["energy"]] = 1.0
    row[at["ranked"]] = BIG
    row[at["front"]] = np.repeat(step.front.first().numpy(), step.layout.features)
    return row


def new_stream_row(first: F32, last: F32, layout: StateLayout) -> F32:
    """float32 [S] of a stream that training has not seen.

    It knows nothing of its own, and has the energy of the fleet's residuals, whose
    ``last`` rows are float32 [N, S].
    """
    row = first.copy()
    at = layout.slices()
    for part in ("bias", "energy", "error"):
        row[at[part]] = np.median(last[:, at[part]], axis=0)
    return row
