"""How new a metric's recent shape is: its distance to the shapes that it showed before.

Theory of operation. The most extreme standardised value of every b points is kept; the
last w of these are a *pattern*. The novelty of a pattern is its mean distance to the
nearest of :data:`PROTOTYPES` prototypes of the stream. The pattern then pulls the
nearest prototype a little. If it is far from all, it replaces the least used one
(competitive learning, Rumelhart & Zipser 1985).

There is no control flow: what happens every b points is computed at every point, and
kept at every b-th. The prototypes of all shapes are one after the other on the first
axis, L in all, so that one operation serves all shapes. A product with a [B, L] matrix
of who owns what sums over each shape; a product with its transpose broadcasts to each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from training.models.sketch import BIG, FIRST

# Prototypes of a shape. With 12, a single metric's state stays within 544 floats.
PROTOTYPES = 12
# Factor of a prototype's use, for each pattern that the stream shows after it.
_MEMORY = 0.999
# Mean distance, in standard deviations, above which a pattern is a new one.
_FAR = 1.0
# How far a pattern pulls the nearest prototype; a new pattern replaces the least used.
_PULL = 0.1
# Standard deviations under which a value counts as 0 in a pattern.
_QUIET = 0.5


@dataclass(frozen=True, slots=True)
class Shape:
    """A pattern: the extremes of every ``every`` points, ``length`` of them."""

    every: int
    length: int


# The shapes of the value, and of what the hour of the day does not explain. The second
# is shorter, for it is free of the day's rhythm.
BOOKS = (Shape(6, 8), Shape(2, 4))


class Compared(NamedTuple):
    """A point's patterns beside their prototypes, for :meth:`ShapePrototypes.learn`.

    Of N metrics and B shapes with P prototypes of L values in all.

    Attributes:
        prototypes, apart: [L, P N] and [L, P, N], these minus the pattern.
        used, free, distance: [B, P, N]; ``free`` is 1 if there is none yet.
        new: 1 if the pattern is far from all, [B, N].
        learns: 1 where a pattern is complete, [B, N].
        followed: pattern, extreme and novelty after the point.
    """

    prototypes: Tensor
    apart: Tensor
    used: Tensor
    free: Tensor
    distance: Tensor
    new: Tensor
    learns: Tensor
    followed: list[Tensor]


class ShapePrototypes(nn.Module):
    """Prototypes of a stream's recent shapes, for each of B shapes.

    State: the prototypes, how much each is used (-1: free), the pattern of each shape,
    the extreme since its last value, and its last novelty.
    """

    def __init__(self, shapes: tuple[Shape, ...]) -> None:
        super().__init__()
        self.shapes = shapes
        b = len(shapes)
        length = sum(s.length for s in shapes)
        self.widths = [PROTOTYPES * length, PROTOTYPES * b, length, b, b]
        owner = torch.cat([torch.full((s.length,), i) for i, s in enumerate(shapes)])
        owns = (owner[None] == torch.arange(b)[:, None]).float()
        place = FIRST * torch.arange(PROTOTYPES, dtype=torch.float32)[:, None]
        every = torch.tensor([[float(s.every)] for s in shapes])
        needs = torch.tensor([[s.every * s.length - 1.5] for s in shapes])
        self.register_buffer("owned", owns.T.contiguous())
        self.register_buffer("mean", owns / owns.sum(1, keepdim=True))
        self.register_buffer("place", place)
        self.register_buffer("every", every)
        self.register_buffer("needs", needs)

    def first(self) -> Tensor:
        """The state of a metric before its first point, float32 [sum(widths)]."""
        prototypes, used, *rest = self.widths
        free = torch.full((used,), -1.0)
        return torch.cat([torch.zeros(prototypes), free, torch.zeros(sum(rest))])

    def forward(
        self,
        z: Tensor,
        present: Tensor,
        count: Tensor,
        state: Sequence[Tensor],
    ) -> tuple[Tensor, Compared]:
        """Novelty [B, N] of N metrics, and what :meth:`learn` needs.

        ``z`` [B, N] is standardised, ``present`` [1, N] is 0 or 1, ``count`` [1, N] are
        the points before this one.
        """
        b = len(self.shapes)
        length = self.widths[2]
        prototypes, used, pattern, extreme, novelty = state
        prototypes = prototypes.reshape(length, -1)
        used = used.reshape(b, PROTOTYPES, -1)
        owned = self.get_buffer("owned")
        extreme, done = self._extremes(z, present, count, extreme)
        shown = extreme * (extreme.abs() >= _QUIET).float()
        pattern = pattern + owned @ done * (self._shift(pattern, shown) - pattern)
        learns = done * (count > self.get_buffer("needs")).float()
        apart = prototypes.reshape(length, PROTOTYPES, -1) - pattern[:, None]
        free = (used < 0).float()
        away = self.get_buffer("mean") @ apart.abs().flatten(1)
        distance = away.reshape(b, PROTOTYPES, -1) + BIG * free
        near = distance.amin(1)
        new = (near > _FAR).float()
        distant = learns * near
        is_known = (near < 0.5 * BIG).float()
        novelty = distant * is_known + (1.0 - learns) * novelty
        followed = [pattern, extreme, novelty]
        return novelty, Compared(
            prototypes=prototypes,
            apart=apart,
            used=used,
            free=free,
            distance=distance,
            new=new,
            learns=learns,
            followed=followed,
        )

    def learn(self, seen: Compared, gate: Tensor) -> list[Tensor]:
        """The next state; ``gate`` [1, N] is 0 where no pattern is learned."""
        length = self.widths[2]
        owned = self.get_buffer("owned")
        learns = seen.learns * gate
        new = seen.new
        fades = (1.0 - (1.0 - _MEMORY) * learns)[:, None]
        used = fades * seen.used.clamp(min=0.0) - seen.free
        cost = new[:, None] * used + (1.0 - new)[:, None] * seen.distance
        chosen = self._least(cost) * learns[:, None]
        used = used + chosen * (1.0 - new[:, None] * used)
        pull = chosen * (_PULL + (1.0 - _PULL) * new)[:, None]
        change = owned @ pull.flatten(1) * seen.apart.flatten(1)
        moved = seen.prototypes - change
        moved = moved.reshape(length * PROTOTYPES, -1)
        return [moved, used.flatten(0, 1), *seen.followed]

    def _extremes(
        self,
        z: Tensor,
        present: Tensor,
        count: Tensor,
        extreme: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The extreme so far [B, N], and 1 where this point completes it."""
        every = self.get_buffer("every")
        point = count - every * torch.floor((count + 0.5) / every)
        is_first = (point < 0.5).float()
        taken = present * torch.maximum(is_first, (z.abs() > extreme.abs()).float())
        extreme = taken * z + (1.0 - taken) * extreme
        return extreme, present * (point > every - 1.5).float()

    def _shift(self, pattern: Tensor, shown: Tensor) -> Tensor:
        """Each shape's pattern without its oldest value, ``shown`` [B, N] appended."""
        parts = torch.split(pattern, [s.length for s in self.shapes])
        ends = shown.chunk(len(self.shapes))
        pieces: list[Tensor] = []
        for part, end in zip(parts, ends, strict=True):
            pieces += (part[1:], end)
        return torch.cat(pieces)

    def _least(self, values: Tensor) -> Tensor:
        """1 at the first of the least of ``values`` [B, P, N], else 0."""
        place = self.get_buffer("place")
        chosen = (values + place).argmin(1, keepdim=True).float()
        return (place == FIRST * chosen).float()
