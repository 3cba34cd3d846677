"""The front for metrics taken one by one: what a point means for its own metric, as six
surprises that have no unit.

Theory of operation. One metric alone gives a network little to reconstruct, and its
level, rhythm and noise are its own. So each metric is expanded into six channels, each
O(1) a point: its value; its change; a fast running mean less a slow one; a slow mean of
what the hour does not explain, on a working day or at a weekend; and how new its recent
shape is, of the value and of what the hour does not explain. Each channel is then
replaced by its *surprise*, how many decimal places of probability it lies in the tail
of the channel's own past, by a sketch of twelve weighted centroids that is finest in
its tails (after Ben-Haim & Tom-Tov 2010; Dunning & Ertl 2019), with a Pareto tail
beyond what was seen (Pickands 1975). A point counts 1 / (1 + what its surprise exceeds
2.5 by) in it, so that an anomaly is slow to become normal. Where a value is what nearly
all the past was, to the bit, nothing is surprising, be it that an anomaly just ended.
What comes out is the same for a metric in bytes and in gigabytes, at a minute's tick
and at an hour's.

*Novelty of shape*: the most extreme standardised value of every b points, the last w of
those a pattern; its distance to the nearest of twelve prototypes of the stream, which
the pattern then pulls a little, or replaces the least used of them where it is far from
all (competitive learning, Rumelhart & Zipser 1985). A *lean* front does without these
two channels, which take half of the state and a third of the time.

Everything is a stretch of the stream's state row. A missing value changes nothing of
its metric. There is no control flow: what happens every b points is computed at every
point and kept at every b-th.

Written for onnxruntime, which is quick where the last axis is long and the rest is
plain arithmetic: that axis is the N metrics of all streams at once, centroids,
prototypes and slots lie on the axes before it. Each operation costs a microsecond
however small, and wide ones what their memory costs, so what is alike is done in one. A
choice is a product with masks of 0 and 1, or a minimum and a maximum where numbers are
in order, since Where is ten times as slow; a sum over the first axis is a product with
ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.models.flatline import WIDTH as STILL
from training.models.flatline import stillness

# of the channels' surprises in the score; a shape's novelty weighs 1
WEIGHTS = (1.0, 1.0, 1.0, 1.5)
CENTROIDS = 12
SLOTS = 16  # of a day, 90 minutes each
# the first days of their kind
SATURDAY = 5.0
MONDAY = 0.0
# of what such a day teaches of its own kind, what it teaches of the other; other days:
# all of it
SHARED = 0.5
BIG = 1e30  # an empty centroid; values are clipped well inside
LARGEST = 1e28
TINY = 1e-30  # in place of a divisor of zero
MOST_SURPRISED = 9.0
ROUNDING = 3e-6
# points counted before half of them are forgotten: float32 counts on by one, and the
# books keep their place
COUNTED = 12e6
COUNT = 5  # which part of the state the count is, see :class:`Front`
# a place later costs so much more: of equals every runtime then takes the first
FIRST = 1e-5
SETTLED = 20.0  # points before a sketch says anything
DOUBTED = 2.5  # decimal places: what is more surprising teaches less
_PARETO = 2.0
_MEAN_GAIN = 0.002
# of the past has other values: one that all the rest had is no news, whatever came
# before it
_USUAL = 0.02
_KEPT = 0.2  # of what a slot held before a visit, after it
# seconds over which is known what a slot changes by from one ordinary day to the next
_DRIFT = 3 * 86_400.0
# of the running means: seconds, least and most points
_SPANS = ((1500.0, 3.0, 8.0), (6000.0, 8.0, 40.0), (6000.0, 8.0, 40.0))
PROTOTYPES = 12  # of a book
_MEMORY = 0.999
_FAR = 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a book of patterns: the extreme of every ``every`` points, ``length`` of them."""

    every: int
    length: int


BOOKS = (Shape(6, 8), Shape(2, 4))


class Sketch(nn.Module):
    """The past of M numbers, each as K weighted centroids [K, M] in rising order, empty
    ones (BIG, weight 0) last.
    """

    def __init__(self, centroids: int, memory: float = 1.0) -> None:
        super().__init__()
        self.centroids = centroids
        self.memory = memory
        place = torch.arange(centroids + 1, dtype=torch.float32)[:, None]
        self.register_buffer("place", place)
        self.register_buffer("apart", 4.0 * BIG * place[:-1])
        self.register_buffer("handicap", FIRST * place[1:-2])
        self.register_buffer("ones", torch.ones(1, centroids + 2))
        self.register_buffer("step", torch.tensor([[-1.0], [0.0]]))
        self.register_buffer("halves", torch.tensor([[-0.5], [0.5]]))

    def forward(
        self, q: Tensor, values: Tensor, weights: Tensor, settled: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """-log10 P(X >= q) and -log10 P(X <= q) [1, M] of the past, the share of it
        that was exactly q, and the sketch [K, M] that has seen q [1, M].

        A q of BIG is none: it comes after all, weighs nothing and leaves the sketch as
        it is, to the bit. ``settled`` [1, M]: 1 where the sketch knows enough to doubt
        a point, which then counts the less the more surprising it is.
        """
        if self.memory < 1.0:
            weights = self.memory * weights
        none = 0.0 * q
        lowest = none - BIG
        v = torch.cat([lowest, values, -lowest])
        w = torch.cat([none, weights, none])
        mass = w.cumsum(0)
        before = (v < q).float()
        # how many are: a sum over an axis that is not the last is quickest as a product
        under = self.get_buffer("ones") @ before
        ends = (under + self.get_buffer("step")).long()
        a, b = v.gather(0, ends).chunk(2)
        is_one = q < 0.5 * BIG
        known = (is_one & (b == q)).float()
        high, low = self._surprises(
            q, a, b, w.gather(0, ends), mass.gather(0, ends[:1]), known, v, mass
        )
        learnt = is_one.float() / (
            1.0 + settled * (torch.maximum(high, low) - DOUBTED).clamp(min=0.0)
        )
        lower_w = before * w
        # q in its place, all after it moved up
        wide_v = torch.maximum(v[:-1], torch.minimum(v[1:], q))
        wide_w = lower_w[1:] + (w - lower_w)[:-1] + learnt * (before[:-1] - before[1:])
        equal = known * w.gather(0, ends[1:]) / mass[-1:].clamp(min=TINY)
        return high, low, equal, *self._merged(wide_v, wide_w, under - 1.0, known)

    def _surprises(
        self,
        q: Tensor,
        a: Tensor,
        b: Tensor,
        ends_w: Tensor,
        below: Tensor,
        known: Tensor,
        v: Tensor,
        mass: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """From the centroids a < q <= b next to q (-BIG, BIG where there is none),
        their weights [2, M], and all the weight below q.

        Up to and at a centroid the mass is that before it and half its own; between
        two, its logarithm is taken as straight. Beyond the last: a Pareto tail as wide
        as from there to where the outer tenth begins. ``v`` and ``mass`` are all
        centroids between -BIG and BIG, and the weight up to each.
        """
        total = mass[-1:]
        (a_w, b_w) = ends_w.chunk(2)
        top = (b > 0.5 * BIG).float()
        bottom = (a < -0.5 * BIG).float()
        lower = 1.0 - top
        share = (q - a) / (b - a).clamp(min=TINY)
        to = (below + self.get_buffer("halves") * ends_w).clamp(min=1e-12)
        (to_a, to_b) = to.chunk(2)
        (from_a, from_b) = (total - to).clamp(min=1e-12).chunk(2)
        own = 0.5 * (torch.maximum(known, bottom) * b_w + top * a_w) + 0.5
        near = torch.cat([from_a, to_b])
        far = torch.cat([from_b, to_a])
        tail = near * torch.exp(torch.cat([share, 1.0 - share]) * torch.log(far / near))
        tenth = v.gather(
            0,
            (
                self.get_buffer("ones")
                @ (mass < total * (0.9 * top + 0.1 * lower)).float()
            ).long(),
        )
        inner = top * a + lower * b
        width = torch.maximum((inner - tenth).abs(), 1e-3 * inner.abs()).clamp(min=TINY)
        excess = 1.0 + ((q - inner).abs() / width).clamp(max=1e12)
        beyond = torch.cat([top, bottom - bottom * known]) * (2.0 * excess * excess)
        # what is beyond is at least 2, what is not at most 2
        rarity = torch.maximum(1.0 / (tail + own), beyond)
        high, low = (
            torch.log10((total + 1.0) * rarity).clamp(max=MOST_SURPRISED).chunk(2)
        )
        return high, low

    def _merged(
        self, v: Tensor, w: Tensor, own: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        """K centroids of K + 1 [K + 1, M]: one pair becomes one.

        It is a number and its equal after it (at ``own`` where it is ``known``), or two
        places the last of which is empty, or the cheapest. A pair costs its weight over
        the mass outwards of it, so that the tails stay fine; the two ends are never
        merged.
        """
        mass = w.cumsum(0)
        inner = w[1:-2]
        outwards = torch.minimum(mass[2:-1], mass[-1:] - mass[1:-2] + inner).clamp(
            min=1e-9
        )
        cheapest = ((inner + w[2:-1]) / outwards + self.get_buffer("handicap")).argmin(
            0, keepdim=True
        ).float() + 1.0
        at = torch.maximum(cheapest, (self.centroids - 1.0) * (w[-1:] <= 0).float())
        at = at + known * (own - at)
        pair = torch.cat([at, at + 1.0]).long()
        (one, other) = v.gather(0, pair).chunk(2)
        (one_w, other_w) = w.gather(0, pair).chunk(2)
        middle = one + other_w / (one_w + other_w).clamp(min=1e-9) * (other - one)
        # far below what is before the pair, between the two of it, far above what is
        # after it: so that one stays, becomes their middle, moves up
        wanted = self.get_buffer("apart") - 4.0 * BIG * at + middle
        staying = (self.get_buffer("place") <= at).float() * w
        return torch.maximum(v[:-1], torch.minimum(v[1:], wanted)), staying[:-1] + (
            w - staying
        )[1:]


class ShapePrototypes(nn.Module):
    """Prototypes of a stream's recent shapes, one book for each of B shapes.

    State: the prototypes, how much each of them is used (-1: free), each book's
    pattern, their extremes, their novelties. Patterns and prototypes of all books lie
    one after the other on the first axis, L in all, so that one operation does for all
    books; a product with a [B, L] matrix of who owns what sums over each, one with its
    transpose says something to each.
    """

    def __init__(self, shapes: tuple[Shape, ...]) -> None:
        super().__init__()
        self.shapes = shapes
        b = len(shapes)
        length = sum(s.length for s in shapes)
        self.widths = [PROTOTYPES * length, PROTOTYPES * b, length, b, b]
        owner = torch.cat([torch.full((s.length,), i) for i, s in enumerate(shapes)])
        owns = (owner[None] == torch.arange(b)[:, None]).float()
        self.register_buffer("owned", owns.T.contiguous())
        self.register_buffer("mean", owns / owns.sum(1, keepdim=True))
        self.register_buffer(
            "place", FIRST * torch.arange(PROTOTYPES, dtype=torch.float32)[:, None]
        )
        self.register_buffer("every", torch.tensor([[float(s.every)] for s in shapes]))
        self.register_buffer(
            "needs", torch.tensor([[s.every * s.length - 1.5] for s in shapes])
        )

    def first(self) -> Tensor:
        prototypes, used, *rest = self.widths
        return torch.cat(
            [torch.zeros(prototypes), torch.full((used,), -1.0), torch.zeros(sum(rest))]
        )

    def forward(
        self, z: Tensor, present: Tensor, count: Tensor, state: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        """z [B, N] standardised, present [1, N] 0 or 1, count [1, N] of points before
        it -> novelty [B, N] and the next state.
        """
        b = len(self.shapes)
        length = self.widths[2]
        prototypes, used, pattern, extreme, novelty = state
        prototypes = prototypes.reshape(length, -1)
        used = used.reshape(b, PROTOTYPES, -1)
        every = self.get_buffer("every")
        owned = self.get_buffer("owned")
        point = count - every * torch.floor((count + 0.5) / every)
        taken = present * torch.maximum(
            (point < 0.5).float(), (z.abs() > extreme.abs()).float()
        )
        extreme = taken * z + (1.0 - taken) * extreme
        done = present * (point > every - 1.5).float()
        shown = extreme * (extreme.abs() >= 0.5).float()
        pattern = pattern + owned @ done * (self._shifted(pattern, shown) - pattern)
        learns = done * (count > self.get_buffer("needs")).float()
        apart = prototypes.reshape(length, PROTOTYPES, -1) - pattern[:, None]
        free = (used < 0).float()
        distance = (self.get_buffer("mean") @ apart.abs().flatten(1)).reshape(
            b, PROTOTYPES, -1
        ) + BIG * free
        near = distance.amin(1)
        new = (near > _FAR).float()
        novelty = learns * near * (near < 0.5 * BIG).float() + (1.0 - learns) * novelty
        used = (1.0 - (1.0 - _MEMORY) * learns)[:, None] * used.clamp(min=0.0) - free
        chosen = (
            self._least(new[:, None] * used + (1.0 - new)[:, None] * distance)
            * learns[:, None]
        )
        used = used + chosen * (1.0 - new[:, None] * used)
        pull = chosen * (0.1 + 0.9 * new)[:, None]
        moved = prototypes - owned @ pull.flatten(1) * apart.flatten(1)
        return novelty, [
            moved.reshape(length * PROTOTYPES, -1),
            used.flatten(0, 1),
            pattern,
            extreme,
            novelty,
        ]

    def _shifted(self, pattern: Tensor, shown: Tensor) -> Tensor:
        """Each book's pattern less its oldest and with what is ``shown`` [B, N] at its
        end.
        """
        parts = torch.split(pattern, [s.length for s in self.shapes])
        ends = shown.chunk(len(self.shapes))
        return torch.cat(
            [
                piece
                for part, end in zip(parts, ends, strict=True)
                for piece in (part[1:], end)
            ]
        )

    def _least(self, values: Tensor) -> Tensor:
        """1 at the first of the least [B, P, N], else 0."""
        place = self.get_buffer("place")
        return (
            place == FIRST * (values + place).argmin(1, keepdim=True).float()
        ).float()


class Front(nn.Module):
    """One point of N metrics -> the channels' surprises. See :data:`WIDTHS` for one
    metric's stretch of the state.
    """

    def __init__(self, shapes: tuple[Shape, ...] = BOOKS) -> None:
        super().__init__()
        self.sketch = Sketch(CENTROIDS)
        self.books = ShapePrototypes(shapes) if shapes else None
        self.weights = (*WEIGHTS, *(1.0 for _ in shapes))
        self.channels = len(self.weights)
        centroids = self.channels * CENTROIDS
        books = self.books.widths if self.books is not None else []
        #: profile of the day's slots, what a weekend's are more than that, how often
        #: each was seen · what they drift by · running mean and previous value · points
        #: · fast, slow, unexplained · means, then variances of value and unexplained ·
        #: how long it stood still · the books · centroids and their weights
        self.widths = (
            SLOTS,
            SLOTS,
            SLOTS,
            1,
            2,
            1,
            3,
            2,
            2,
            STILL,
            *books,
            centroids,
            centroids,
        )
        self.size = sum(self.widths)
        slots = torch.arange(SLOTS)
        apart = (slots[:, None] - slots[None, :]).remainder(SLOTS)
        near = torch.where(
            apart == 0, 1.0, torch.where((apart == 1) | (apart == SLOTS - 1), 0.5, 0.0)
        )
        self.register_buffer("neighbours", near)
        self.register_buffer("slots", slots.float()[:, None])
        # a shape can be too new, not too old
        self.register_buffer(
            "two_sided", torch.tensor([[1.0]] * len(WEIGHTS) + [[0.0]] * len(shapes))
        )
        self.register_buffer("spans", torch.tensor(_SPANS).T[:, :, None])

    def first(self) -> Tensor:
        """[size] of a metric that was never seen."""
        books = torch.zeros(0) if self.books is None else self.books.first()
        past = torch.zeros(self.channels * CENTROIDS)
        return torch.cat(
            [
                torch.zeros(self.size - len(books) - 2 * len(past)),
                books,
                past + BIG,
                past,
            ]
        )

    def forward(
        self,
        x: Tensor,
        present: Tensor,
        slot: Tensor,
        day: Tensor,
        tick: Tensor,
        state: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x [1, N] finite, present [1, N] 0 or 1, slot [1, N] as of :func:`slot_of`,
        day [1, N] of the week (0 Monday), tick [1, N] in seconds, state [size, N].

        Returns one-sided surprises [C, N], signed ones for the network [C, N], the
        surprise of standing still [1, N], the expectation [1, N] and the next state.
        """
        surprise, signed, still, expected, moved = self.step(
            x, present, slot, day, tick, torch.split(state, list(self.widths))
        )
        return surprise, signed, still, expected, torch.cat(moved)

    def step(
        self,
        x: Tensor,
        present: Tensor,
        slot: Tensor,
        day: Tensor,
        tick: Tensor,
        state: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
        """:meth:`forward` with the state in its parts, before and after. Each gain is 0
        where x is missing: nothing has to be put back.
        """
        (
            profile,
            more,
            often,
            drift,
            levels,
            count,
            means,
            centre,
            variance,
            stood,
            *books,
            values,
            weights,
        ) = state
        absent = 1.0 - present
        first = (count < 0.5).float()
        mean, last = (levels + first * x).chunk(2)  # 0 before the first
        still, *stands = stillness(x, levels[1:], *stood.chunk(STILL))
        expected, residual, *days = self._of_the_slot(
            x, present, mean, (profile, more, often, drift), slot, day, tick
        )
        residual = _above_rounding(residual, x)
        gain = present / (count + 1.0)
        mean = mean + torch.maximum(gain, _MEAN_GAIN * present) * (x - mean)
        both = torch.cat([x, residual])
        z, centre, variance = self._standardised(
            both, centre + first * present * both, variance, count, gain
        )
        means = means + torch.maximum(present * self._gains(tick), gain) * (
            torch.cat([x, both]) - means
        )
        fast, slow, unexplained = means.chunk(3)
        q = torch.cat([x, x - last, _above_rounding(fast - slow, x), unexplained])
        if self.books is not None:
            novelty, books = self.books(z, present, count, books)
            q = torch.cat([q, novelty])
        surprise, signed, values, weights = self._surprises(
            q, present, values, weights, count
        )
        counted = count + present
        counted = counted - COUNTED / 2 * (counted > COUNTED).float()
        levels = torch.cat([mean, present * x + absent * levels[1:]])
        stood = present * torch.cat(stands) + absent * stood
        moved = [
            *days,
            levels,
            counted,
            means,
            centre,
            variance,
            stood,
            *books,
            values,
            weights,
        ]
        return surprise, signed, present * still, expected, moved

    def _of_the_slot(
        self,
        x: Tensor,
        present: Tensor,
        mean: Tensor,
        days: tuple[Tensor, Tensor, Tensor, Tensor],
        slot: Tensor,
        day: Tensor,
        tick: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What is usual in this slot and its neighbours, what it leaves of x, and what
        is known of the ``days`` after x.

        A slot holds four fifths of the mean of its last visit and the rest of those
        before, however many points a visit has. A weekend is known as what it is
        ``more`` than a working day, so that what is learned of either holds for both.
        What is new on the first day of its kind may be that kind's own or here to stay:
        half of it is learned of the other kind, too, and what is new on another day
        wholly. What drifts from each day to the next, as a counter does, is nothing
        new. So a difference is found in two weekends, and a level that changed for good
        on any other day is news once.
        """
        profile, more, often, drift = days
        weekend = (day > SATURDAY - 0.5).float()
        turn = (day == SATURDAY).float() - (day == MONDAY).float()
        now = (slot == self.get_buffer("slots")).float()
        weight = (self.get_buffer("neighbours") @ now) * often
        shown = profile + weekend * more
        usual = (0.5 * mean + (weight * shown).sum(0, keepdim=True)) / (
            0.5 + weight.sum(0, keepdim=True)
        )
        tick = tick.clamp(min=1e-3)
        least = 1.0 - torch.exp(tick * (math.log(_KEPT) * SLOTS / 86_400.0))
        now = present * now
        met = now * (often > 0.5).float()
        off = (met * (x - shown)).sum(0, keepdim=True)
        gain = torch.maximum(1.0 / (often + 1.0), least)
        own = met * gain * ((1.0 - SHARED) * turn * (off - drift))
        profile = profile + now * gain * (x - shown) - weekend * own
        drift = drift + met.sum(0, keepdim=True) * (1.0 - turn.abs()) * (
            1.0 - torch.exp(tick * (-1.0 / _DRIFT))
        ) * (off - drift)
        return (
            usual,
            x - usual,
            profile,
            more + own,
            torch.minimum(often + now, 1.0 / least),
            drift,
        )

    def _standardised(
        self, q: Tensor, mean: Tensor, variance: Tensor, count: Tensor, gain: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q [2, N] by its running mean and variance, and those after it; an update is
        clipped at five deviations.
        """
        deviation = torch.sqrt(variance)
        d = q - mean
        z = (d / (deviation + 1e-3 * mean.abs()).clamp(min=TINY)).clamp(-8.0, 8.0) * (
            count > 1.5
        ).float()
        limited = (deviation > 0).float() * (count > SETTLED - 0.5).float()
        # whose square is finite
        limit = (5.0 * deviation + 1e18 * (1.0 - limited)).clamp(max=1e18)
        d = torch.minimum(torch.maximum(d, -limit), limit)
        return z, mean + gain * d, (1.0 - gain) * (variance + gain * d * d)

    def _gains(self, tick: Tensor) -> Tensor:
        """[3, N] of the running means."""
        seconds, least, most = self.get_buffer("spans")
        return 2.0 / (
            torch.minimum(torch.maximum(seconds / tick.clamp(min=1e-3), least), most)
            + 1.0
        )

    def _surprises(
        self, q: Tensor, present: Tensor, values: Tensor, weights: Tensor, count: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        settled = (count > SETTLED - 0.5).float()
        c = self.channels
        # BIG where there is none
        q = torch.maximum(q, BIG - 2.0 * BIG * present).reshape(1, -1)
        past = (part.reshape(CENTROIDS, -1) for part in (values, weights))
        high, low, equal, values, weights = self.sketch(
            q, *past, torch.cat([settled] * c, dim=1)
        )
        said = (
            present
            * settled
            * ((1.0 - equal[:, : present.shape[1]]) / _USUAL).clamp(max=1.0)
        )
        high = high.reshape(c, -1) * said
        low = low.reshape(c, -1) * (said * self.get_buffer("two_sided"))
        rows = CENTROIDS * c
        return (
            torch.maximum(high, low),
            (high - low).clamp(-6.0, 6.0),
            values.reshape(rows, -1),
            weights.reshape(rows, -1),
        )


def slot_of(second: Tensor) -> Tensor:
    """Which slot of the day it is, by its second."""
    return torch.floor(second * (SLOTS / 86_400.0)).clamp(0, SLOTS - 1)


def _above_rounding(difference: Tensor, of: Tensor) -> Tensor:
    """0 where it is what float32 leaves of two numbers of the size of ``of``: a
    constant has no noise to be surprised by.
    """
    return difference * (difference.abs() > ROUNDING * of.abs()).float()
