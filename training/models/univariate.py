"""The step for few metrics: the front's channels, the same autoencoder over them, and
one score.

Theory of operation. The network reads the signed surprises of
:mod:`training.models.surprise`, six for each metric, four for a lean one, and its
residual energy E is that of :mod:`training.models.multivariate` with one quick time
scale. A metric's own evidence is the weighted mean of its channels' one-sided
surprises, and on top that of standing still (:mod:`training.models.flatline`), since a
metric that froze is unsurprising in every other way; metrics are combined by their root
mean square, so that one that cries out is not drowned by three that are quiet. With F
the mean of that evidence and of 2 log10 E, weighted as so many channels and smoothed
over three points as E is, so that one odd reading has to be twice as odd,

    score = 2 F + R - 0.8 log10(age / 1000) + 4,        R the surprise of F itself in the stream's own past,

so that part of the score says how rare this is in decimal places that mean the same for
every stream, and part how rare it is for this one; a young stream, whose past is short,
scores a little higher. The 4 keeps it positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from detector.model.engine import clock_input
from training.history.history import History
from training.models.multivariate import (
    AutoencoderNetwork,
    Cell,
    Residual,
    affine,
    asinh,
)
from training.models.surprise import (
    BIG,
    COUNT,
    LARGEST,
    SETTLED,
    Front,
    Sketch,
    slot_of,
)

# features: what moves together is told better from each other than from each one's own
# past
MAX_FEATURES = 1
HIDDEN = 16
_RANKED = 15
_MEMORY = 0.9998
_QUICK = 0.5  # gain of the running means of the error and of F: three points
_WIDE = 32  # floats of a part of the row
_YOUNG = 100.0
_OLD = 1e6
_AGE_WEIGHT = 0.8
_SHIFT = 4.0


@dataclass(frozen=True, slots=True)
class UnivariateLayout:
    """Where each part of a state row [S] lies, for F features of C channels, whose
    fronts are ``front`` wide, and H hidden units.
    """

    features: int
    channels: int
    hidden: int
    front: int

    @property
    def widths(self) -> tuple[int, ...]:
        f = self.channels * self.features
        h = self.hidden
        return (
            h,
            h,
            h,
            h,
            2 * f,
            2 * f,
            1,
            1,
            1,
            _RANKED,
            _RANKED,
            self.front * self.features,
        )

    @property
    def size(self) -> int:
        return sum(self.widths)

    def slices(self) -> dict[str, slice]:
        names = (
            "encoder_h",
            "encoder_c",
            "decoder_h",
            "decoder_c",
            "bias",
            "energy",
            "error",
            "fused",
            "tick",
            "ranked",
            "ranks",
            "front",
        )
        start = 0
        found = {}
        for name, width in zip(names, self.widths, strict=True):
            found[name] = slice(start, start + width)
            start += width
        return found


class UnivariateStep(nn.Module):
    """ONE step over a batch of streams of few metrics: what the daemon runs."""

    def __init__(
        self, network: AutoencoderNetwork, power: float, features: int, front: Front
    ) -> None:
        super().__init__()
        self.layout = UnivariateLayout(
            features, front.channels, network.hidden, front.size
        )
        self.front = front
        self.sketch = Sketch(_RANKED, _MEMORY)
        self.encoder = Cell(network.encoder)
        self.decoder = Cell(network.decoder)
        self.bottleneck = network.bottleneck
        width = network.features
        self.output = nn.Linear(network.hidden, width)
        self.output.weight = nn.Parameter(
            network.output.weight[:width].detach().clone()
        )
        self.output.bias = nn.Parameter(network.output.bias[:width].detach().clone())
        self.residual = Residual(width, power, network.get_buffer("projection"))
        self.register_buffer(
            "weights", torch.tensor([front.weights]) / sum(front.weights)
        )

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].

        Within, the streams lie on the last axis: rows are turned once on the way in and
        once on the way out.
        """
        features = self.layout.features
        x = x.T if features > 1 else x.reshape(1, -1)
        (since, second, day) = clock.T.chunk(3)
        eh, ec, dh, dc, bias, energy, error, fused, tick, ranked, ranks, *metrics = (
            _columns(state, self._parts)
        )
        metrics = self._apart(metrics)
        age = self._joined(metrics[COUNT]).amax(dim=0, keepdim=True)
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, 0.0, x.clamp(-LARGEST, LARGEST))
        tick = track_interval(tick, since, age)
        each = (
            _row(filled),
            _row(present),
            _row(slot_of(second), features),
            _row(day, features),
            _row(tick, features),
        )
        surprise, signed, still, expected, metrics = self.front.step(*each, metrics)
        z = self._joined(signed)
        eh, ec = self.encoder(asinh(z), eh, ec, dim=0)
        dh, dc = self.decoder(torch.tanh(affine(self.bottleneck, eh, 0)), dh, dc, dim=0)
        seen = torch.cat([present] * self.front.channels)
        parts, bias, energy = self.residual(
            z, affine(self.output, dh, 0), seen, bias, energy, age, dim=0
        )
        some = present.amax(dim=0, keepdim=True)
        count = _total(present).clamp(min=1.0)
        error = error + _QUICK * some * (
            _total(parts) / (self.front.channels * count) - error
        )
        own = self._joined(self.get_buffer("weights") @ surprise + still)
        own = own * own
        total = _total(own)
        evidence = torch.sqrt(total / count)
        weight = sum(self.front.weights)
        now = (weight * evidence + 2.0 * torch.log10(error + 1e-3)) / (weight + 1.0)
        fused = fused + some * torch.where(age < 0.5, 1.0, _QUICK) * (now - fused)
        settled = (age > SETTLED - 0.5).float()
        rank, _, _, *seen = self.sketch(fused, ranked, ranks, settled)
        ranked, ranks = (
            some * new + (1.0 - some) * old
            for new, old in zip(seen, (ranked, ranks), strict=True)
        )
        years = _AGE_WEIGHT * torch.log10(age.clamp(_YOUNG, _OLD) / 1000.0)
        score = (2.0 * fused + rank * settled - years + _SHIFT).clamp(min=0.0)
        share = own / total.clamp(min=1e-12)
        head = [eh, ec, dh, dc, bias, energy, error, fused, tick, ranked, ranks]
        row = torch.cat([*head, *(self._joined(m) for m in metrics)])
        return (
            score.reshape(-1),
            _turned(self._joined(expected)),
            _turned(share),
            _turned(row),
        )

    @property
    def _parts(self) -> list[int]:
        """Widths of a row's parts, the front's one by one."""
        return [
            *self.layout.widths[:-1],
            *(width * self.layout.features for width in self.front.widths),
        ]

    def _apart(self, parts: list[Tensor]) -> list[Tensor]:
        """The front's parts [width F, B] as the front sees them: each metric of each
        stream by itself [width, F B].
        """
        return (
            parts
            if self.layout.features == 1
            else [
                p.reshape(w, -1) for p, w in zip(parts, self.front.widths, strict=True)
            ]
        )

    def _joined(self, part: Tensor) -> Tensor:
        """What the front says [width, F B], a column for each stream [width F, B]."""
        return (
            part
            if self.layout.features == 1
            else part.reshape(part.shape[0] * self.layout.features, -1)
        )


def _columns(rows: Tensor, widths: list[int]) -> list[Tensor]:
    """The parts of rows [B, S], each [width, B].

    Wide ones are cut out before they are turned, which spares a copy and turns faster:
    rows of 512 floats lie so that their columns are all in the same few places of the
    cache.
    """
    runs: list[list[int]] = [[]]
    for width in widths:
        if runs[-1] and max(width, runs[-1][-1]) > _WIDE:
            runs.append([])
        runs[-1].append(width)
    pieces = torch.split(rows, [sum(run) for run in runs], dim=1)
    return [
        part
        for piece, run in zip(pieces, runs, strict=True)
        for part in (torch.split(piece.T, run) if len(run) > 1 else (piece.T,))
    ]


def _row(part: Tensor, times: int = 1) -> Tensor:
    """[F, B] as one row [1, F B], or [1, B] so many times."""
    return (
        torch.cat([part] * times, dim=1).reshape(1, -1)
        if times > 1 or part.shape[0] > 1
        else part
    )


def _turned(part: Tensor) -> Tensor:
    """[S, B] as [B, S].

    What looks idle is not: onnxruntime's optimiser moves a transpose through everything
    up to one that undoes it, and all that is between would be done on [B, S], which is
    slow where S is small. It stops at a reshape.
    """
    return (
        part.reshape(-1, 1)
        if part.shape[0] == 1
        else part.reshape(-1).reshape(part.shape[0], -1).T
    )


def _total(part: Tensor) -> Tensor:
    """The sum over the first axis, which is kept."""
    return part if part.shape[0] == 1 else part.sum(dim=0, keepdim=True)


def track_interval(tick: Tensor, since: Tensor, age: Tensor) -> Tensor:
    """The stream's own tick interval [B, 1] in seconds: a running mean that a gap moves
    little.

    What stands in for the time since a point before the first is forgotten.
    """
    since = since.clamp(min=1e-3)
    step = torch.minimum(torch.maximum(since, 0.5 * tick), 2.0 * tick)
    return torch.where(
        age < 1.5, since, tick + (1.0 / (age + 1.0)).clamp(min=0.02) * (step - tick)
    )


def first_row(step: UnivariateStep) -> F32:
    """float32 [S] of a stream before its first point."""
    row = np.zeros(step.layout.size, np.float32)
    at = step.layout.slices()
    row[at["energy"]] = 1.0
    row[at["ranked"]] = BIG
    row[at["front"]] = np.repeat(step.front.first().numpy(), step.layout.features)
    return row


def young_row(first: F32, last: F32, layout: UnivariateLayout) -> F32:
    """float32 [S] of a stream that training has not seen: nothing of its own, and the
    energy that the fleet's residuals [N, S] have.
    """
    row = first.copy()
    at = layout.slices()
    for part in ("bias", "energy", "error"):
        row[at[part]] = np.median(last[:, at[part]], axis=0)
    return row


def channels(history: History, rows: list[int], front: Front) -> list[F32]:
    """float32 [n_i, C F]: the signed surprises of each stream's first ``rows[i]`` rows,
    the network's input.
    """
    width = len(history.features)
    found = [np.zeros((n, front.channels * width), np.float32) for n in rows]
    # longest first: those still running are a prefix
    order = np.argsort([-n for n in rows], kind="stable")
    lengths = np.array([rows[i] for i in order])
    state = front.first()[:, None].repeat(1, len(rows) * width)
    tick = torch.tensor(
        [history.series[i].tick for i in order], dtype=torch.float32
    ).repeat_interleave(width)[None]
    with torch.no_grad():
        for t in range(int(lengths[0])):
            running = order[: int(np.searchsorted(-lengths, -t, side="left"))]
            n = len(running) * width
            x = torch.from_numpy(
                np.concatenate([history.series[i].values[t] for i in running])[None]
            )
            present = (~torch.isnan(x)).float()
            times = np.array([history.series[i].times[t] for i in running])
            _, second, day = (
                torch.from_numpy(clock_input(np.zeros(len(times)), times))
                .repeat_interleave(width, dim=0)
                .T[:, None]
            )
            filled = torch.nan_to_num(x).clamp(-LARGEST, LARGEST)
            _, signed, _, _, state = front(
                filled, present, slot_of(second), day, tick[:, :n], state[:, :n]
            )
            each = (
                signed.reshape(front.channels, len(running), width)
                .transpose(0, 1)
                .flatten(1)
            )
            for i, row in zip(running, each.numpy(), strict=True):
                found[i][t] = row
    return found
