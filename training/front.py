"""The front for metrics taken one by one: what a point means for its own metric, as six surprises that have no unit.

Theory of operation. One metric alone gives a network little to reconstruct, and its level, rhythm and noise are its own. So each metric is
expanded into six channels, each O(1) a point: its value; its change; a fast running mean less a slow one; a slow mean of what the hour of the
day does not explain; and how new its recent shape is, of the value and of what the hour does not explain. Each channel is then replaced by its
*surprise*, how many decimal places of probability it lies in the tail of the channel's own past, by a sketch of twelve weighted
centroids that is finest in its tails (after Ben-Haim & Tom-Tov 2010; Dunning & Ertl 2019), with a Pareto tail beyond what was seen
(Pickands 1975). A point counts 1 / (1 + what its surprise exceeds 1.5 by) in it, so that an anomaly is slow to become normal. What comes out is
the same for a metric in bytes and in gigabytes, at a minute's tick and at an hour's.

*Novelty of shape*: the most extreme standardised value of every b points, the last w of those a pattern; its distance to the nearest of twelve
prototypes of the stream, which the pattern then pulls a little, or replaces the least used of them where it is far from all (competitive
learning, Rumelhart & Zipser 1985). A *lean* front does without these two channels, which take half of the state and a third of the time.

Everything is a stretch of the stream's state row. A missing value changes nothing of its metric. There is no control flow: what happens
every b points is computed at every point and kept at every b-th.

Written for onnxruntime, which is quick where the last axis is long and the rest is plain arithmetic: that axis is the N metrics of all streams
at once, centroids, prototypes and hours lie on the axes before it, and a choice between wide tensors is a product with masks of 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.stillness import WIDTH as STILL
from training.stillness import stillness

WEIGHTS = (1.0, 1.0, 1.0, 1.5)  # of the channels' surprises in the score; a shape's novelty weighs 1
CENTROIDS = 12
HOURS = 24
BIG = 1e30  # an empty centroid; values are clipped well inside
LARGEST = 1e28
TINY = 1e-30  # in place of a divisor of zero
MOST_SURPRISED = 9.0
ROUNDING = 3e-6
COUNTED = 12e6  # points counted before half of them are forgotten: float32 counts on by one, and the books keep their place
FIRST = 1e-5  # a place later costs so much more: of equals every runtime then takes the first
SETTLED = 20.0  # points before a sketch says anything
DOUBTED = 1.5  # decimal places: what is more surprising teaches less
_PARETO = 2.0
_PROFILE_GAIN, _MEAN_GAIN = 0.15, 0.002
_SPANS = ((1500.0, 3.0, 8.0), (6000.0, 8.0, 40.0), (6000.0, 8.0, 40.0))  # of the running means: seconds, least and most points
PROTOTYPES = 12  # of a book
_MEMORY, _FAR = 0.999, 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a book of patterns: the extreme of every ``every`` points, ``length`` of them."""

    every: int
    length: int


BOOKS = (Shape(6, 8), Shape(2, 4))


class Sketch(nn.Module):
    """The past of C numbers, each as K weighted centroids in rising order, empty ones (weight 0) last."""

    def __init__(self, centroids: int, memory: float = 1.0) -> None:
        super().__init__()
        self.centroids, self.memory = centroids, memory
        place = torch.arange(centroids, dtype=torch.float32)[:, None]
        self.register_buffer("place", place)
        self.register_buffer("handicap", FIRST * place + BIG * ((place < 0.5) | (place > centroids - 1.5)))

    def forward(self, q: Tensor, values: Tensor, weights: Tensor, settled: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """-log10 P(X >= q) and -log10 P(X <= q) [C, N] of the past, and the sketch [C, K, N] that has seen q [C, N].

        ``settled`` [1, N]: 1 where the sketch knows enough to doubt a point, which then counts the less the more surprising it is.
        """
        if self.memory < 1.0:
            weights = self.memory * weights
        none, x = torch.zeros_like(values[:, :1]), q[:, None]
        left, right = torch.cat([none - BIG, values], 1), torch.cat([values, none + BIG], 1)
        left_w, right_w = torch.cat([none, weights], 1), torch.cat([weights, none], 1)
        before, under = (left < x).float(), (right < x).float()
        slot = before - under  # the one gap with left < q <= right
        under_w = under * right_w
        a, b, below = (slot * left).sum(1), (slot * right).sum(1), under_w.sum(1)
        known = b == q
        high, low = self._surprises(q, a, b, (slot * left_w).sum(1), (slot * right_w).sum(1), below, known, values, weights)
        wide_v = torch.maximum(left, torch.minimum(right, x))
        learnt = 1.0 / (1.0 + settled * (torch.maximum(high, low) - DOUBTED).clamp(min=0.0))
        wide_w = under_w + learnt[:, None] * slot + (left_w - before * left_w)
        own = before.sum(1) - 1.0
        return high, low, *self._merged(wide_v, wide_w, torch.where(known, own, -1.0)[:, None])

    def _surprises(
        self, q: Tensor, a: Tensor, b: Tensor, a_w: Tensor, b_w: Tensor, below: Tensor, known: Tensor, values: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """From the centroids a < q <= b next to q (-BIG, BIG where there is none), their weights, and all the weight below q.

        Up to and at a centroid the mass is that before it and half its own; between two, its logarithm is taken as straight.
        Beyond the last: a Pareto tail as wide as from there to where the outer tenth begins.
        """
        mass = weights.cumsum(1)
        total = mass[:, -1]
        top, bottom = b > 0.5 * BIG, a < -0.5 * BIG
        share = (q - a) / (b - a).clamp(min=TINY)
        to_a, to_b = (below - 0.5 * a_w).clamp(min=1e-12), below + (0.5 * b_w).clamp(min=1e-12)
        from_a, from_b = (total - to_a).clamp(min=1e-12), (total - to_b).clamp(min=1e-12)
        own = 0.5 * torch.where(known | bottom, b_w, torch.where(top, a_w, 0.0)) + 0.5
        high, low = from_a * torch.exp(share * torch.log(from_b / from_a)), to_b * torch.exp((1.0 - share) * torch.log(to_a / to_b))
        tenth = (values + BIG * (mass < (total * torch.where(top, 0.9, 0.1))[:, None]).float()).amin(1)
        inner = torch.where(top, a, b)
        width = torch.maximum((inner - tenth).abs(), 1e-3 * inner.abs()).clamp(min=TINY)
        excess = 1.0 + ((q - inner).abs() / width).clamp(max=1e12)
        beyond = 2.0 * excess * excess
        high, low = torch.where(top, beyond, 1.0 / (high + own)), torch.where(bottom & ~known, beyond, 1.0 / (low + own))
        most = total + 1.0
        return torch.log10(most * high).clamp(max=MOST_SURPRISED), torch.log10(most * low).clamp(max=MOST_SURPRISED)

    def _merged(self, values: Tensor, weights: Tensor, equal: Tensor) -> tuple[Tensor, Tensor]:
        """K centroids of K + 1 [C, K + 1, N]: one pair becomes one.

        It is a number and its equal after it (``equal``: the place, or -1), or two places the last of which is empty, or the cheapest.
        A pair costs its weight over the mass outwards of it, so that the tails stay fine; the two ends are never merged.
        """
        place, mass = self.get_buffer("place"), weights.cumsum(1)
        v, next_v, w, next_w = values[:, :-1], values[:, 1:], weights[:, :-1], weights[:, 1:]
        pair = w + next_w
        outwards = torch.minimum(mass[:, 1:], mass[:, -1:] - mass[:, :-1] + w).clamp(min=1e-9)
        cheapest = (pair / outwards + self.get_buffer("handicap")).argmin(1, keepdim=True).float()
        cheapest = torch.where(weights[:, -1:] > 0, cheapest, self.centroids - 1.0)
        at = torch.where(equal < 0, cheapest, equal)
        keep, follow = (place <= at).float(), (place >= at).float()
        after = 1.0 - keep
        share = (follow - after) * (next_w / pair.clamp(min=1e-9))
        return keep * v + after * next_v + share * (next_v - v), keep * w + follow * next_w


class Books(nn.Module):
    """Prototypes of a stream's recent shapes, one book for each of B shapes.

    State: each book's prototypes, how much each of them is used (-1: free), each book's pattern, their extremes, their novelties.
    """

    def __init__(self, shapes: tuple[Shape, ...]) -> None:
        super().__init__()
        self.shapes, b = shapes, len(shapes)
        self.widths = [*(PROTOTYPES * s.length for s in shapes), PROTOTYPES * b, *(s.length for s in shapes), b, b]
        self.register_buffer("place", FIRST * torch.arange(PROTOTYPES, dtype=torch.float32)[:, None])
        self.register_buffer("every", torch.tensor([[float(s.every)] for s in shapes]))
        self.register_buffer("needs", torch.tensor([[s.every * s.length - 1.5] for s in shapes]))

    def first(self) -> Tensor:
        before, free = sum(self.widths[: len(self.shapes)]), self.widths[len(self.shapes)]
        return torch.cat([torch.zeros(before), torch.full((free,), -1.0), torch.zeros(sum(self.widths) - before - free)])

    def forward(self, z: Tensor, count: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """z [B, N] standardised, count [1, N] of points before it -> novelty [B, N] and the next state."""
        b = len(self.shapes)
        parts = torch.split(state, self.widths)
        prototypes = [part.reshape(PROTOTYPES, s.length, -1) for part, s in zip(parts, self.shapes, strict=False)]
        used, extreme, novelty = parts[b].reshape(b, PROTOTYPES, -1), parts[-2], parts[-1]
        every = self.get_buffer("every")
        point = count - every * torch.floor((count + 0.5) / every)
        extreme = torch.where((point < 0.5) | (z.abs() > extreme.abs()), z, extreme)
        done = (point > every - 1.5).float()
        shown = extreme * (extreme.abs() >= 0.5).float()
        patterns = [p + done[i] * (torch.cat([p[1:], shown[i : i + 1]]) - p) for i, p in enumerate(parts[b + 1 : -2])]
        learns = done * (count > self.get_buffer("needs")).float()
        apart = [p - pattern for p, pattern in zip(prototypes, patterns, strict=True)]
        free = (used < 0).float()
        distance = torch.stack([d.abs().mean(1) for d in apart]) + BIG * free
        near = distance.amin(1)
        new = (near > _FAR).float()
        novelty = torch.where(learns > 0, near * (near < 0.5 * BIG).float(), novelty)
        used = (1.0 - (1.0 - _MEMORY) * learns)[:, None] * used.clamp(min=0.0) - free
        chosen = self._least(new[:, None] * used + (1.0 - new)[:, None] * distance) * learns[:, None]
        used = used + chosen * (1.0 - new[:, None] * used)
        pull = chosen * (0.1 + 0.9 * new)[:, None]
        moved = [p - pull[i][:, None] * d for i, (p, d) in enumerate(zip(prototypes, apart, strict=True))]
        return novelty, torch.cat([*(m.flatten(0, 1) for m in moved), used.flatten(0, 1), *patterns, extreme, novelty])

    def _least(self, values: Tensor) -> Tensor:
        """1 at the first of the least [B, P, N], else 0."""
        place = self.get_buffer("place")
        return (place == FIRST * (values + place).argmin(1, keepdim=True).float()).float()


class Front(nn.Module):
    """One point of N metrics -> the channels' surprises. See :data:`WIDTHS` for one metric's stretch of the state."""

    def __init__(self, shapes: tuple[Shape, ...] = BOOKS) -> None:
        super().__init__()
        self.sketch, self.books = Sketch(CENTROIDS), Books(shapes) if shapes else None
        self.weights = (*WEIGHTS, *(1.0 for _ in shapes))
        self.channels = len(self.weights)
        centroids, books = self.channels * CENTROIDS, sum(self.books.widths) if self.books is not None else 0
        #: hour profile and how often each hour was seen · running mean and previous value · points · fast, slow, unexplained · means, then
        #: variances of value and unexplained · how long it stood still · the books · centroids and their weights
        self.widths = (HOURS, HOURS, 2, 1, 3, 2, 2, STILL, books, centroids, centroids)
        self.size = sum(self.widths)
        hours = torch.arange(HOURS)
        apart = (hours[:, None] - hours[None, :]).remainder(HOURS)
        near = torch.where(apart == 0, 1.0, torch.where((apart == 1) | (apart == HOURS - 1), 0.5, 0.0))
        self.register_buffer("neighbours", near)
        self.register_buffer("hours", hours.float()[:, None])
        self.register_buffer("two_sided", torch.tensor([[1.0]] * len(WEIGHTS) + [[0.0]] * len(shapes)))  # a shape can be too new, not too old
        self.register_buffer("spans", torch.tensor(_SPANS).T[:, :, None])

    def first(self) -> Tensor:
        """[size] of a metric that was never seen."""
        *profile, _, centroids, weights = (torch.zeros(width) for width in self.widths)
        return torch.cat([*profile, *([] if self.books is None else [self.books.first()]), centroids + BIG, weights])

    def forward(self, x: Tensor, present: Tensor, second: Tensor, tick: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """x [1, N] finite, present [1, N] 0 or 1, second of the day [1, N], tick [1, N] in seconds, state [size, N].

        Returns one-sided surprises [C, N], signed ones for the network [C, N], the surprise of standing still [1, N], the expectation [1, N] and the
        next state.
        """
        profile, often, levels, count, means, centre, variance, stood, books, values, weights = torch.split(state, list(self.widths))
        still, *stands = stillness(x, levels[1:], *stood.chunk(STILL))
        mean, last = torch.where(count < 0.5, x, levels).chunk(2)
        expected, residual, profile, often = self._of_the_hour(x, mean, profile, often, second)
        residual = _above_rounding(residual, x)
        gain = 1.0 / (count + 1.0)
        mean = mean + gain.clamp(min=_MEAN_GAIN) * (x - mean)
        z, centre, variance = self._standardised(torch.cat([x, residual]), centre, variance, count)
        means = means + torch.maximum(self._gains(tick), gain) * (torch.cat([x, x, residual]) - means)
        fast, slow, unexplained = means.chunk(3)
        q = torch.cat([x, x - last, _above_rounding(fast - slow, x), unexplained])
        if self.books is not None:
            novelty, books = self.books(z, count, books)
            q = torch.cat([q, novelty])
        surprise, signed, values, weights = self._surprises(q, values, weights, count)
        counted = count + 1.0
        counted = counted - COUNTED / 2 * (counted > COUNTED).float()
        moved = torch.cat([profile, often, mean, x, counted, means, centre, variance, *stands, books, values, weights])
        return present * surprise, present * signed, present * still, expected, present * moved + (1.0 - present) * state

    def _of_the_hour(self, x: Tensor, mean: Tensor, profile: Tensor, often: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is usual at this hour and its neighbours, what it leaves of x, and the profile after x."""
        now = (torch.floor(second / 3600.0).clamp(0, HOURS - 1) == self.get_buffer("hours")).float()
        weight = (self.get_buffer("neighbours") @ now) * often
        usual = (0.5 * mean + (weight * profile).sum(0, keepdim=True)) / (0.5 + weight.sum(0, keepdim=True))
        gain = now * (1.0 / (often + 1.0)).clamp(min=_PROFILE_GAIN)
        return usual, x - usual, profile + gain * (x - profile), (often + now).clamp(max=1.0 / _PROFILE_GAIN)

    def _standardised(self, q: Tensor, mean: Tensor, variance: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q [2, N] by its running mean and variance, and those after it; an update is clipped at five deviations."""
        mean = torch.where(count < 0.5, q, mean)
        deviation = torch.sqrt(variance)
        d = q - mean
        z = (d / (deviation + 1e-3 * mean.abs()).clamp(min=TINY)).clamp(-8.0, 8.0) * (count > 1.5).float()
        limit = torch.where((deviation > 0) & (count > SETTLED - 0.5), 5.0 * deviation, 1e18)
        d = torch.minimum(torch.maximum(d, -limit), limit)
        gain = 1.0 / (count + 1.0)
        return z, mean + gain * d, (1.0 - gain) * (variance + gain * d * d)

    def _gains(self, tick: Tensor) -> Tensor:
        """[3, N] of the running means."""
        seconds, least, most = self.get_buffer("spans")
        return 2.0 / (torch.minimum(torch.maximum(seconds / tick.clamp(min=1e-3), least), most) + 1.0)

    def _surprises(self, q: Tensor, values: Tensor, weights: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        settled = (count > SETTLED - 0.5).float()
        high, low, values, weights = self.sketch(q, *(part.reshape(self.channels, CENTROIDS, -1) for part in (values, weights)), settled)
        high, low = high * settled, low * (settled * self.get_buffer("two_sided"))
        return torch.maximum(high, low), (high - low).clamp(-6.0, 6.0), values.flatten(0, 1), weights.flatten(0, 1)


def _above_rounding(difference: Tensor, of: Tensor) -> Tensor:
    """0 where it is what float32 leaves of two numbers of the size of ``of``: a constant has no noise to be surprised by."""
    return difference * (difference.abs() > ROUNDING * of.abs()).float()
