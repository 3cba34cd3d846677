"""The step for few metrics: the front's channels, the same autoencoder over them, and one score.

Theory of operation. The network reads the signed surprises of :mod:`training.front`, six for each metric, four for a lean one, and its residual
energy E is that of :mod:`training.network` with one quick time scale. A metric's own evidence is the weighted mean of its channels' one-sided
surprises, and on top that of standing still (:mod:`training.stillness`), since a metric that froze is unsurprising in every other way; metrics are
combined by their root mean square, so that one that cries out is not drowned by three that are quiet. With F the mean of that evidence and of
2 log10 E, weighted as so many channels,

    score = 2 F + R - 0.8 log10(age / 1000) + 4,        R the surprise of F itself in the stream's own past,

so that part of the score says how rare this is in decimal places that mean the same for every stream, and part how rare it is for this
one; a young stream, whose past is short, scores a little higher. The 4 keeps it positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.data import History
from training.front import BIG, LARGEST, SETTLED, Front, Sketch
from training.network import Cell, Residual, Sequence, squashed

MOST = 1  # features: what moves together is told better from each other than from each one's own past
HIDDEN = 16
_RANKED, _MEMORY = 16, 0.9998
_QUICK = 0.5  # gain of the error's running mean: three points
_YOUNG, _OLD, _AGE_WEIGHT, _SHIFT = 100.0, 1e6, 0.8, 4.0


@dataclass(frozen=True, slots=True)
class FewLayout:
    """Where each part of a state row [S] lies, for F features of C channels, whose fronts are ``front`` wide, and H hidden units."""

    features: int
    channels: int
    hidden: int
    front: int

    @property
    def widths(self) -> tuple[int, ...]:
        f, h = self.channels * self.features, self.hidden
        return (h, h, h, h, 2 * f, 2 * f, 1, 1, 1, _RANKED, _RANKED, self.front * self.features)

    @property
    def size(self) -> int:
        return sum(self.widths)

    def slices(self) -> dict[str, slice]:
        names = ("encoder_h", "encoder_c", "decoder_h", "decoder_c", "bias", "energy", "error", "age", "tick", "ranked", "ranks", "front")
        start, found = 0, {}
        for name, width in zip(names, self.widths, strict=True):
            found[name] = slice(start, start + width)
            start += width
        return found


class FewStep(nn.Module):
    """ONE step over a batch of streams of up to four metrics: what the daemon runs."""

    def __init__(self, network: Sequence, power: float, features: int, front: Front) -> None:
        super().__init__()
        self.layout = FewLayout(features, front.channels, network.hidden, front.size)
        self.front, self.sketch = front, Sketch(_RANKED, _MEMORY)
        self.encoder, self.decoder, self.bottleneck = Cell(network.encoder), Cell(network.decoder), network.bottleneck
        width = network.features
        self.output = nn.Linear(network.hidden, width)
        self.output.weight = nn.Parameter(network.output.weight[:width].detach().clone())
        self.output.bias = nn.Parameter(network.output.bias[:width].detach().clone())
        self.residual = Residual(width, power, network.get_buffer("projection"))
        self.register_buffer("weights", torch.tensor(front.weights) / sum(front.weights))

    def forward(self, x: Tensor, clock: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected [B, F], contribution [B, F], next_state [B, S]."""
        eh, ec, dh, dc, bias, energy, error, age, tick, ranked, ranks, front = torch.split(state, list(self.layout.widths), dim=1)
        missing = torch.isnan(x)
        present = (~missing).float()
        filled = torch.where(missing, 0.0, x.clamp(-LARGEST, LARGEST))
        tick = followed_tick(tick, clock[:, :1], age)
        features = self.layout.features
        second, ticks = clock[:, 1:2].expand(-1, features), tick.expand(-1, features)
        each = (part.reshape(1, -1) for part in (filled, present, second, ticks))
        surprise, signed, still, expected, metrics = self.front(*each, front.reshape(-1, self.front.size).T)
        z = signed.T.reshape(-1, self.front.channels * features)
        eh, ec = self.encoder(squashed(z), eh, ec)
        dh, dc = self.decoder(torch.tanh(self.bottleneck(eh)), dh, dc)
        seen = present[..., None].expand(-1, -1, self.front.channels).flatten(1)
        parts, bias, energy = self.residual(z, self.output(dh), seen, bias, energy, age)
        some = present.amax(dim=1, keepdim=True)
        mean = parts.sum(dim=1, keepdim=True) / seen.sum(dim=1, keepdim=True).clamp(min=1.0)
        error = error + _QUICK * some * (mean - error)
        own = (self.get_buffer("weights") @ surprise + still).reshape(-1, features)
        own = own * own
        evidence = torch.sqrt(own.sum(dim=1, keepdim=True) / present.sum(dim=1, keepdim=True).clamp(min=1.0))
        weight = sum(self.front.weights)
        fused = (weight * evidence + 2.0 * torch.log10(error + 1e-3)) / (weight + 1.0)
        past = ranked.T[None], ranks.T[None]
        settled = (age.T > SETTLED - 0.5).float()
        rank, _, *seen = self.sketch(fused.T, *past, settled)
        rank = (rank * settled)[0]
        ranked, ranks = (torch.where(some.T > 0, new, old)[0].T for new, old in zip(seen, past, strict=True))
        years = _AGE_WEIGHT * torch.log10(age[:, 0].clamp(_YOUNG, _OLD) / 1000.0)
        score = (2.0 * fused[:, 0] + rank - years + _SHIFT).clamp(min=0.0)
        share = own / own.sum(dim=1, keepdim=True).clamp(min=1e-12)
        row = [
            eh,
            ec,
            dh,
            dc,
            bias,
            energy,
            error,
            (age + some).clamp(max=1e7),
            tick,
            ranked,
            ranks,
            metrics.T.reshape(-1, features * self.front.size),
        ]
        return score, expected.reshape(-1, features), share, torch.cat(row, dim=1)


def followed_tick(tick: Tensor, since: Tensor, age: Tensor) -> Tensor:
    """The stream's own tick interval [B, 1] in seconds: a running mean that a gap moves little.

    What stands in for the time since a point before the first is forgotten.
    """
    since = since.clamp(min=1e-3)
    step = torch.minimum(torch.maximum(since, 0.5 * tick), 2.0 * tick)
    return torch.where(age < 1.5, since, tick + (1.0 / (age + 1.0)).clamp(min=0.02) * (step - tick))


def first_row(step: FewStep) -> F32:
    """float32 [S] of a stream before its first point."""
    row, at = np.zeros(step.layout.size, np.float32), step.layout.slices()
    row[at["energy"]] = 1.0
    row[at["ranked"]] = BIG
    row[at["front"]] = np.tile(step.front.first().numpy(), step.layout.features)
    return row


def young_row(first: F32, last: F32, layout: FewLayout) -> F32:
    """float32 [S] of a stream that training has not seen: nothing of its own, and the energy that the fleet's residuals [N, S] have."""
    row, at = first.copy(), layout.slices()
    for part in ("bias", "energy", "error"):
        row[at[part]] = np.median(last[:, at[part]], axis=0)
    return row


def channels(history: History, rows: list[int], front: Front) -> list[F32]:
    """float32 [n_i, C F]: the signed surprises of each stream's first ``rows[i]`` rows, the network's input."""
    width = len(history.features)
    found = [np.zeros((n, front.channels * width), np.float32) for n in rows]
    order = np.argsort([-n for n in rows], kind="stable")  # longest first: those still running are a prefix
    lengths = np.array([rows[i] for i in order])
    state = front.first()[:, None].repeat(1, len(rows) * width)
    tick = torch.tensor([history.series[i].tick for i in order], dtype=torch.float32).repeat_interleave(width)[None]
    with torch.no_grad():
        for t in range(int(lengths[0])):
            running = order[: int(np.searchsorted(-lengths, -t, side="left"))]
            n = len(running) * width
            x = torch.from_numpy(np.concatenate([history.series[i].values[t] for i in running])[None])
            present = (~torch.isnan(x)).float()
            second = torch.tensor([history.series[i].times[t] % 86_400 for i in running], dtype=torch.float32).repeat_interleave(width)[None]
            filled = torch.nan_to_num(x).clamp(-LARGEST, LARGEST)
            _, signed, _, _, state = front(filled, present, second, tick[:, :n], state[:, :n])
            for i, row in zip(running, signed.T.reshape(len(running), -1).numpy(), strict=True):
                found[i][t] = row
    return found
