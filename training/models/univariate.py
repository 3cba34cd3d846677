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

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.history.history import History
from training.models.layout import StateLayout
from training.models.multivariate import (
    AutoencoderNetwork,
    Cell,
    Residual,
    affine,
    asinh,
    reconstruction_only,
)
from training.models.sketch import BIG, Sketch
from training.models.surprise import LARGEST, SETTLED, Front, Point, slot_of
from training.models.walk import Wave, by_stream, walk

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
# Gain of the running means of the error and of F: three points.
_QUICK = 0.5
# Keeps the logarithm of the error finite.
_LEAST_ERROR = 1e-3
# Floats from which on a part of the row is wide, see :func:`_columns`.
_WIDE = 32
# The ages, in points, between which a stream's age counts, and its weight.
_NEW = 100.0
_OLD = 1e6
_AGE_WEIGHT = 0.8
_SHIFT = 4.0
# Least gain of a stream's tick interval: a memory of 50 points.
_TICK_GAIN = 0.02


def state_layout(features: int, hidden: int, front: Front) -> StateLayout:
    """The row of a stream of F features with H hidden units."""
    channels = front.channels * features
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
            ("ranked", _RANKED),
            ("ranks", _RANKED),
            ("front", front.size * features),
        ),
    )


class UnivariateStep(nn.Module):
    """ONE step over a batch of streams of few metrics: what the daemon runs."""

    def __init__(
        self, network: AutoencoderNetwork, power: float, features: int, front: Front
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
        self._points = [name for name, _ in front.layout.parts].index("points")

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].

        Inside, the streams are on the last axis: rows are transposed once on the way in
        and once on the way out.
        """
        features = self.layout.features
        x = x.T if features > 1 else x.reshape(1, -1)
        since, second, day = clock.T.chunk(3)
        parts = _columns(state, self._widths)
        eh, ec, dh, dc, bias, energy, error, fused, tick, ranked, ranks, *rest = parts
        metrics = self._each_metric(rest)
        age = self._each_stream(metrics[self._points]).amax(dim=0, keepdim=True)
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, 0.0, x.clamp(-LARGEST, LARGEST))
        tick = track_interval(tick, since, age)
        point = Point(
            x=_row(filled),
            present=_row(present),
            slot=_row(slot_of(second), features),
            day=_row(day, features),
            tick=_row(tick, features),
        )
        found, metrics = self.front.step(point, metrics)
        z = self._each_stream(found.signed)
        eh, ec = self.encoder(asinh(z), eh, ec, dim=0)
        code = torch.tanh(affine(self.bottleneck, eh, 0))
        dh, dc = self.decoder(code, dh, dc, dim=0)
        seen = torch.cat([present] * self.front.channels)
        reconstruction = affine(self.output, dh, 0)
        errors, bias, energy = self.residual(
            z, reconstruction, seen, bias, energy, age, dim=0
        )
        some = present.amax(dim=0, keepdim=True)
        count = _total(present).clamp(min=1.0)
        gain = _QUICK * some
        mean_error = _total(errors) / (self.front.channels * count)
        error = error + gain * (mean_error - error)
        own = self._each_stream(
            self.get_buffer("weights") @ found.one_sided + found.flatline
        )
        own = own * own
        total = _total(own)
        fused = self._fuse(fused, torch.sqrt(total / count), error, age, some)
        score, ranked, ranks = self._score(fused, ranked, ranks, age, some)
        share = own / total.clamp(min=1e-12)
        head = [eh, ec, dh, dc, bias, energy, error, fused, tick, ranked, ranks]
        row = torch.cat([*head, *(self._each_stream(m) for m in metrics)])
        return (
            score.reshape(-1),
            _transposed(self._each_stream(found.expected)),
            _transposed(share),
            _transposed(row),
        )

    def _fuse(
        self, fused: Tensor, evidence: Tensor, error: Tensor, age: Tensor, some: Tensor
    ) -> Tensor:
        """F [1, B] after a point: the evidence of the metrics and of the network."""
        weight = sum(self.front.weights)
        of_channels = weight * evidence
        of_network = 2.0 * torch.log10(error + _LEAST_ERROR)
        now = (of_channels + of_network) / (weight + 1.0)
        gain = some * torch.where(age < 0.5, 1.0, _QUICK)
        return fused + gain * (now - fused)

    def _score(
        self, fused: Tensor, ranked: Tensor, ranks: Tensor, age: Tensor, some: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The score [1, B], and the sketch of F after the point."""
        settled = (age > SETTLED - 0.5).float()
        rank, _, _, *seen = self.sketch(fused, ranked, ranks, settled)
        ranked, ranks = (
            some * new + (1.0 - some) * old
            for new, old in zip(seen, (ranked, ranks), strict=True)
        )
        experience = _AGE_WEIGHT * torch.log10(age.clamp(_NEW, _OLD) / 1000.0)
        score = (2.0 * fused + rank * settled - experience + _SHIFT).clamp(min=0.0)
        return score, ranked, ranks

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


def _columns(rows: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The parts of rows [B, S], each [width, B].

    Wide parts are cut out before they are transposed. That spares a copy and is faster:
    the columns of rows of 512 floats compete for the same few places of the cache.
    """
    runs: list[list[int]] = [[]]
    for width in widths:
        if runs[-1] and max(width, runs[-1][-1]) > _WIDE:
            runs.append([])
        runs[-1].append(width)
    pieces = torch.split(rows, [sum(run) for run in runs], dim=1)
    parts: list[Tensor] = []
    for piece, run in zip(pieces, runs, strict=True):
        turned = piece.T
        parts += torch.split(turned, run) if len(run) > 1 else (turned,)
    return parts


def _row(part: Tensor, times: int = 1) -> Tensor:
    """[F, B] as one row [1, F B], or [1, B] repeated ``times``."""
    if times == 1 and part.shape[0] == 1:
        return part
    return torch.cat([part] * times, dim=1).reshape(1, -1)


def _transposed(part: Tensor) -> Tensor:
    """[S, B] as [B, S].

    The second reshape is not idle. onnxruntime's optimiser moves a transpose through
    everything up to one that undoes it. All between would be done on [B, S], which is
    slow if S is small. It stops at a reshape.
    """
    if part.shape[0] == 1:
        return part.reshape(-1, 1)
    return part.reshape(-1).reshape(part.shape[0], -1).T


def _total(part: Tensor) -> Tensor:
    """The sum over the first axis, which is kept."""
    return part if part.shape[0] == 1 else part.sum(dim=0, keepdim=True)


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


def channels(history: History, lengths: Sequence[int], front: Front) -> tuple[F32, ...]:
    """float32 [n_i, C F]: signed surprises of each stream's first n_i points, the
    network's input.
    """
    streams = [
        replace(s, times=s.times[:n], values=s.values[:n])
        for s, n in zip(history.series, lengths, strict=True)
    ]
    features = len(history.features)
    found = np.zeros((sum(lengths), front.channels * features), np.float32)
    ticks = torch.tensor([s.tick for s in streams], dtype=torch.float32)

    def step(wave: Wave, state: F32) -> F32:
        signed, moved = _signed(front, wave, ticks[wave.streams], state)
        found[wave.rows] = signed
        return moved

    row = np.tile(front.first().numpy(), features)
    first = np.repeat(row[None], len(streams), axis=0)
    with torch.no_grad():
        walk(streams, first, history.local_times, step)
    return by_stream(found, streams)


def _signed(front: Front, wave: Wave, ticks: Tensor, state: F32) -> tuple[F32, F32]:
    """Signed surprises [B, C F] of a wave, and the front's next states [B, size F]."""
    streams, features = wave.x.shape
    x = torch.from_numpy(wave.x.reshape(1, -1))
    clock = torch.from_numpy(wave.clock).repeat_interleave(features, dim=0)
    _, second, day = clock.T[:, None]
    columns = torch.from_numpy(state.reshape(streams * features, -1)).T.contiguous()
    _, signed, _, _, moved = front(
        torch.nan_to_num(x).clamp(-LARGEST, LARGEST),
        (~torch.isnan(x)).float(),
        slot_of(second),
        day,
        ticks.repeat_interleave(features)[None],
        columns,
    )
    by_channel = signed.reshape(front.channels, streams, features)
    found = by_channel.transpose(0, 1).flatten(1)
    return found.numpy(), moved.T.reshape(streams, -1).numpy()
