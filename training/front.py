"""The front for few metrics: what a point means for its own metric, as six surprises that have no unit.

Theory of operation. One metric alone gives a network little to reconstruct, and its level, rhythm and noise are its own. So each metric is
expanded into six channels, each O(1) a point: its value; its change; a fast running mean less a slow one; a slow mean of what the hour of the
day does not explain; and how new its recent shape is, of the value and of what the hour does not explain. Each channel is then replaced by its
*surprise*, how many decimal places of probability it lies in the tail of the channel's own past, by a sketch of twelve weighted
centroids that is finest in its tails (after Ben-Haim & Tom-Tov 2010; Dunning & Ertl 2019), with a Pareto tail beyond what was seen
(Pickands 1975). What comes out is the same for a metric in bytes and in gigabytes, at a minute's tick and at an hour's.

*Novelty of shape*: the most extreme standardised value of every b points, the last w of those a pattern; its distance to the nearest of twelve
prototypes of the stream, which the pattern then pulls a little, or replaces the least used of them where it is far from all (competitive
learning, Rumelhart & Zipser 1985).

Everything is a stretch of the stream's state row. A missing value changes nothing of its metric. There is no control flow: what happens
every b points is computed at every point and kept at every b-th.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHANNELS = 6
WEIGHTS = (1.0, 1.0, 1.0, 1.5, 1.0, 1.0)  # of the channels' surprises in the score
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
_PARETO = 2.0
_PROFILE_GAIN, _MEAN_GAIN = 0.15, 0.002
_FAST, _SLOW = (1500.0, 3.0, 8.0), (6000.0, 8.0, 40.0)  # span of a running mean: seconds, least and most points
_MEMORY, _FAR = 0.999, 1.0


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a book of patterns: the extreme of every ``every`` points, ``length`` of them, against ``prototypes``."""

    every: int
    length: int
    prototypes: int = 12

    @property
    def size(self) -> int:
        return self.prototypes * (self.length + 1) + self.length + 2


BOOKS = (Shape(6, 8), Shape(2, 4))


class Sketch(nn.Module):
    """The past of a number as K weighted centroids, in rising order, empty ones last.

    Choices are products with masks of 0 and 1 and not ``where``: onnxruntime vectorises those.
    """

    def __init__(self, centroids: int, memory: float = 1.0) -> None:
        super().__init__()
        self.centroids, self.memory = centroids, memory
        wide = centroids + 1
        place = torch.arange(wide, dtype=torch.float32)
        self.register_buffer("from_above", torch.tril(torch.ones(wide, wide)))
        self.register_buffer("from_below", torch.triu(torch.ones(wide, wide)))
        self.register_buffer("place", place[:-1])
        self.register_buffer("handicap", FIRST * place[:-1] + BIG * ((place[:-1] < 0.5) | (place[:-1] > centroids - 1.5)))

    def wide(self, values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """With a last, empty place: [..., K + 1]."""
        return _then(values, BIG), _then(weights, 0.0)

    def above(self, q: Tensor, values: Tensor, weights: Tensor) -> Tensor:
        """-log10 P(X >= q), for q [...] and a wide sketch [..., K + 1]."""
        mass = weights @ self.get_buffer("from_above")
        under = (values < q[..., None]).float()
        upper = (mass >= 0.1 * mass[..., :1]).float() * (weights > 0).float()
        near, far = under - _then(under[..., 1:], 0.0), _after(1.0, under[..., :-1]) - under
        return _surprise(q, values, weights, mass, near, far, upper - _then(upper[..., 1:], 0.0))

    def under(self, q: Tensor, values: Tensor, weights: Tensor) -> Tensor:
        """-log10 P(X <= q): the same from the other end."""
        mass = weights @ self.get_buffer("from_below")
        used = (weights > 0).float()
        over = (values > q[..., None]).float() * used
        rest = used - over
        lower = (mass >= 0.1 * mass[..., -1:]).float() * used
        near = (over - _after(0.0, over[..., :-1])).clamp(min=0.0)
        return _surprise(q, values, weights, mass, near, rest - _then(rest[..., 1:], 0.0), (lower - _after(0.0, lower[..., :-1])).clamp(min=0.0))

    def after(self, q: Tensor, values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The sketch [..., K] that has seen q: a centroid of its own, and where there is none left, the cheapest pair made one.

        A pair costs its weight over the mass outwards of it, so that the tails stay fine; the two ends are never merged.
        """
        x, place = q[..., None], self.get_buffer("place")
        equal = (values == x).float()
        weights = weights * self.memory + equal
        under = (values < x).float()
        before = _after(1.0, under[..., :-1])
        v = torch.maximum(_after(-BIG, values[..., :-1]), torch.minimum(values, x))
        w = under * weights + (before - under) + (1.0 - before) * _after(0.0, weights[..., :-1])
        below = w @ self.get_buffer("from_below")
        pair = w[..., :-1] + w[..., 1:]
        outwards = torch.minimum(below[..., 1:], below[..., -1:] - below[..., :-1] + w[..., :-1]).clamp(min=1e-9)
        cheapest = (pair / outwards + self.get_buffer("handicap")).argmin(-1, keepdim=True).float()
        here, left = (place == cheapest).float(), (place < cheapest).float()
        right = 1.0 - here - left
        middle = v[..., :-1] + (v[..., 1:] - v[..., :-1]) * (w[..., 1:] / pair.clamp(min=1e-9))
        merged_v, merged_w = left * v[..., :-1] + here * middle + right * v[..., 1:], left * w[..., :-1] + here * pair + right * w[..., 1:]
        known = equal.amax(-1, keepdim=True)
        merged = (weights[..., -2:-1] > 0).float() * (1.0 - known)
        added = 1.0 - known - merged
        after_v = known * values[..., :-1] + merged * merged_v + added * v[..., :-1]
        return after_v, known * weights[..., :-1] + merged * merged_w + added * w[..., :-1]


def _then(values: Tensor, last: float) -> Tensor:
    return torch.cat([values, torch.full_like(values[..., :1], last)], -1)


def _after(first: float, values: Tensor) -> Tensor:
    return torch.cat([torch.full_like(values[..., :1], first), values], -1)


def _surprise(q: Tensor, values: Tensor, weights: Tensor, mass: Tensor, near: Tensor, far: Tensor, tenth: Tensor) -> Tensor:
    """``mass`` [..., K + 1] is each centroid's weight and that of all beyond it, on the side that is asked for.

    ``near`` marks the centroid next to q on the inner side, ``far`` q itself or the one next to it on the outer, ``tenth`` the innermost
    one that a tenth of all lies beyond; each is a row of zeros where there is none.
    """
    total, tail = mass.amax(-1), mass - 0.5 * weights
    far = far * (weights > 0).float()
    inner, outer = (near * values).sum(-1), (far * values).sum(-1)
    some_inner, some_outer = near.sum(-1), far.sum(-1)
    equal = (weights * (values == q[..., None]).float()).sum(-1)
    share = ((q - inner).abs() / (outer - inner).abs().clamp(min=TINY)).clamp(0.0, 1.0)
    tail_inner, tail_outer = (near * tail).sum(-1).clamp(min=1e-12), (far * tail).sum(-1).clamp(min=1e-12)
    between = torch.exp((1.0 - share) * torch.log(tail_inner) + share * torch.log(tail_outer))
    hit = (equal > 0).float()
    reached = some_inner * (hit * (tail_outer + 0.5 * equal) + (1.0 - hit) * between) + (1.0 - some_inner) * total
    inside = -torch.log10((reached + 0.5) / (total + 1.0))
    width = torch.maximum((inner - (tenth * values).sum(-1)).abs(), 1e-3 * inner.abs()).clamp(min=TINY)
    excess = ((q - inner).abs() / width).clamp(max=1e12)
    beyond = torch.log10(2.0 * (total + 1.0)) + _PARETO * torch.log10(1.0 + excess)
    return (some_outer * inside + (1.0 - some_outer) * beyond).clamp(max=MOST_SURPRISED)


class Book(nn.Module):
    """Prototypes of a stream's recent shape. State, in this order: prototypes, how much each is used (-1: free), pattern, extreme, novelty."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        p, w = shape.prototypes, shape.length
        self.widths = [p * w, p, w, 1, 1]
        self.register_buffer("places", torch.arange(p, dtype=torch.float32))

    def forward(self, z: Tensor, count: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """z [..., 1] standardised, count [..., 1] of points before it -> novelty [..., 1] and the next state."""
        flat, used, pattern, extreme, novelty = torch.split(state, self.widths, -1)
        prototypes = flat.reshape(*flat.shape[:-1], self.shape.prototypes, self.shape.length)
        place = count - self.shape.every * torch.floor((count + 0.5) / self.shape.every)
        extreme = torch.where((place < 0.5) | (z.abs() > extreme.abs()), z, extreme)
        done = place > self.shape.every - 1.5
        shown = torch.where(extreme.abs() < 0.5, 0.0, extreme)
        pattern = torch.where(done, torch.cat([pattern[..., 1:], shown], -1), pattern)
        learns = done & (count > self.shape.every * self.shape.length - 1.5)
        distance = (prototypes - pattern[..., None, :]).abs().mean(-1)
        distance = torch.where(used < 0, BIG, distance)
        near = distance.amin(-1, keepdim=True)
        known = near < 0.5 * BIG
        novelty = torch.where(learns, torch.where(known, near, 0.0), novelty)
        aged = torch.where(used >= 0, used * _MEMORY, used)
        new = near > _FAR
        places = self.get_buffer("places")
        least, nearest = (aged + FIRST * places).argmin(-1, keepdim=True), (distance + FIRST * places).argmin(-1, keepdim=True)
        chosen = places == torch.where(new, least, nearest).float()
        pull = torch.where(new, 1.0, 0.1)
        moved = prototypes + (chosen.float() * pull)[..., None] * (pattern[..., None, :] - prototypes)
        counted = torch.where(chosen, torch.where(new, 1.0, aged + 1.0), aged)
        prototypes = torch.where(learns[..., None], moved, prototypes)
        used = torch.where(learns, counted, used)
        return novelty, torch.cat([prototypes.flatten(-2), used, pattern, extreme, novelty], -1)


class Front(nn.Module):
    """One point of F metrics -> the channels' surprises. See :data:`WIDTHS` for one metric's stretch of the state."""

    #: hour profile and how often each hour was seen · running mean · previous value · points · fast, slow, unexplained · moments of value and
    #: unexplained (two means, two variances) · the two books · centroids and their weights
    WIDTHS = (HOURS, HOURS, 1, 1, 1, 3, 4, BOOKS[0].size, BOOKS[1].size, CHANNELS * CENTROIDS, CHANNELS * CENTROIDS)
    SIZE = sum(WIDTHS)

    def __init__(self) -> None:
        super().__init__()
        self.sketch = Sketch(CENTROIDS)
        self.books = nn.ModuleList(Book(shape) for shape in BOOKS)
        hours = torch.arange(HOURS)
        apart = (hours[:, None] - hours[None, :]).remainder(HOURS)
        near = torch.where(apart == 0, 1.0, torch.where((apart == 1) | (apart == HOURS - 1), 0.5, 0.0))
        self.register_buffer("neighbours", near)
        self.register_buffer("hours", hours.float())

    @staticmethod
    def first() -> Tensor:
        """[SIZE] of a metric that was never seen."""
        profile, sketch = torch.zeros(2 * HOURS + 10), torch.full((CHANNELS * CENTROIDS,), BIG)
        books = [torch.cat([torch.zeros(s.prototypes * s.length), torch.full((s.prototypes,), -1.0), torch.zeros(s.length + 2)]) for s in BOOKS]
        return torch.cat([profile, *books, sketch, torch.zeros(CHANNELS * CENTROIDS)])

    def forward(self, x: Tensor, present: Tensor, second: Tensor, tick: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] finite, present [B, F] 0 or 1, second of the day [B], tick [B] in seconds, state [B, F, SIZE].

        Returns one-sided surprises [B, F, 6], signed ones for the network [B, F, 6], the expectation [B, F] and the next state.
        """
        profile, often, mean, last, count, means, moments, one, two, values, weights = torch.split(state, list(self.WIDTHS), -1)
        x = x[..., None]
        first = count < 0.5
        mean, last = torch.where(first, x, mean), torch.where(first, x, last)
        expected, residual, profile, often = self._of_the_hour(x, mean, profile, often, second)
        residual = _above_rounding(residual, x)
        gain = 1.0 / (count + 1.0)
        mean = mean + gain.clamp(min=_MEAN_GAIN) * (x - mean)
        moments, z = self._standardised(torch.cat([x, residual], -1), moments, count)
        spans = torch.stack([_gain(tick, _FAST), _gain(tick, _SLOW), _gain(tick, _SLOW)], -1)[:, None, :]
        followed = torch.cat([x, x, residual], -1)
        means = torch.where(first, followed, means + torch.maximum(spans, gain) * (followed - means))
        shape_one, one = self.books[0](z[..., :1], count, one)
        shape_two, two = self.books[1](z[..., 1:], count, two)
        q = torch.cat([x, x - last, _above_rounding(means[..., :1] - means[..., 1:2], x), means[..., 2:], shape_one, shape_two], -1)
        surprise, signed, values, weights = self._surprises(q, values, weights, count)
        counted = count + 1.0
        counted = torch.where(counted > COUNTED, counted - COUNTED / 2, counted)
        moved = [profile, often, mean, x, counted, means, moments, one, two, values, weights]
        seen = present[..., None]
        next_state = torch.where(seen > 0, torch.cat(moved, -1), state)
        return surprise * seen, signed * seen, expected[..., 0], next_state

    def _of_the_hour(self, x: Tensor, mean: Tensor, profile: Tensor, often: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is usual at this hour and its neighbours, what it leaves of x, and the profile after x."""
        now = (torch.floor(second / 3600.0).clamp(0, HOURS - 1)[:, None] == self.get_buffer("hours")).float()
        weight = (now @ self.get_buffer("neighbours"))[:, None, :] * often
        usual = (0.5 * mean + (weight * profile).sum(-1, keepdim=True)) / (0.5 + weight.sum(-1, keepdim=True))
        now = now[:, None, :]
        gain = now * (1.0 / (often + 1.0)).clamp(min=_PROFILE_GAIN)
        return usual, x - usual, profile + gain * (x - profile), (often + now).clamp(max=1.0 / _PROFILE_GAIN)

    def _standardised(self, q: Tensor, moments: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Running mean and variance [B, F, 4] after q [B, F, 2], and q by those before; an update is clipped at five deviations."""
        mean, variance = moments[..., :2], moments[..., 2:]
        mean = torch.where(count < 0.5, q, mean)
        deviation = torch.sqrt(variance)
        d = q - mean
        z = (d / (deviation + 1e-3 * mean.abs()).clamp(min=TINY)).clamp(-8.0, 8.0) * (count > 1.5)
        limit = torch.where((deviation > 0) & (count > SETTLED - 0.5), 5.0 * deviation, BIG)
        d = torch.minimum(torch.maximum(d, -limit), limit).clamp(-1e18, 1e18)
        gain = 1.0 / (count + 1.0)
        return torch.cat([mean + gain * d, (1.0 - gain) * (variance + gain * d * d)], -1), z

    def _surprises(self, q: Tensor, values: Tensor, weights: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        shape = (*q.shape, CENTROIDS)
        v, w = self.sketch.wide(values.reshape(shape), weights.reshape(shape))
        settled = (count > SETTLED - 0.5).float()
        up = self.sketch.above(q, v, w) * settled
        low = self.sketch.under(q[..., :4], v[..., :4, :], w[..., :4, :]) * settled
        v, w = self.sketch.after(q, v, w)
        either = torch.cat([torch.maximum(up[..., :4], low), up[..., 4:]], -1)
        signed = torch.cat([up[..., :4] - low, up[..., 4:]], -1).clamp(-6.0, 6.0)
        return either, signed, v.flatten(-2), w.flatten(-2)


def _above_rounding(difference: Tensor, of: Tensor) -> Tensor:
    """0 where it is what float32 leaves of two numbers of the size of ``of``: a constant has no noise to be surprised by."""
    return difference * (difference.abs() > ROUNDING * of.abs()).float()


def _gain(tick: Tensor, span: tuple[float, float, float]) -> Tensor:
    seconds, least, most = span
    return 2.0 / ((seconds / tick.clamp(min=1e-3)).clamp(least, most) + 1.0)
