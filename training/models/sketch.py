"""A number's past as a few weighted centroids, and how surprising its next value is.

Theory of operation. The past of a number is kept as K centroids, each a value and a
weight (Ben-Haim & Tom-Tov 2010). They are finest in the tails, where surprise is
measured: a merge costs its weight over the mass outwards of it (after Dunning & Ertl
2019). The *surprise* of q is -log10 of the share of the past that is at least as
extreme. Up to and at a centroid, the mass is that before it and half its own. Between
two centroids, the logarithm of the mass is linear. Beyond the last one there is a
Pareto tail (Pickands 1975), as wide as from there to where the outer tenth begins.

A value that surprises by more than :data:`DOUBTED` decimal places counts less the more
it surprises, so an anomaly is slow to become normal.

Written for onnxruntime: the last axis holds the M numbers of all streams, the centroids
are on the axis before it. There is no control flow. A choice is a product with masks of
0 and 1, or a minimum and maximum of ordered numbers: Where is ten times as slow. A sum
over the first axis is a product with ones for the same reason.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

# The value of an empty centroid, and of a number that is missing. Real values are
# clipped well inside.
BIG = 1e30
# Stands in for a divisor of zero.
TINY = 1e-30
# The largest surprise, in decimal places: two thousand years of minutes say no more.
MOST_SURPRISED = 9.0
# Widths of the Pareto tail by which one value moves the extreme centroid at most. The
# records of an exponential tail are a seventh of a width apart
# (docs/experiments/learning-gate.md).
_STRETCH = 0.25
# Added per place, so that every runtime takes the first of two equal candidates.
FIRST = 1e-5
# Decimal places of surprise above which a value teaches less. The rule was measured at
# 1.5 places, not at this number (docs/experiments/recorded-figures.md).
DOUBTED = 2.5
# Weights and masses below this are taken for it before a division or a logarithm.
_LEAST_WEIGHT = 1e-9
_LEAST_MASS = 1e-12
# The outer share of the past whose width scales the Pareto tail beyond it.
_OUTER = 0.1
# The narrowest Pareto tail, as a share of the extreme value.
_LEAST_WIDTH = 1e-3
# The farthest distance in the Pareto tail, in widths: its square is finite in float32.
_FARTHEST = 1e12


class _Gap(NamedTuple):
    """Where q falls: a < q <= b, the centroids next to it, -BIG or BIG if none.

    Attributes:
        a, b: their values, [1, M].
        weights: their weights, [2, M].
        below: all the weight below q, [1, M].
        known: 1 if q is exactly b, else 0, [1, M].
    """

    a: Tensor
    b: Tensor
    weights: Tensor
    below: Tensor
    known: Tensor


class Place(NamedTuple):
    """A value q among K centroids that have not learned it yet.

    Attributes:
        q: the value, [1, M].
        bounded: the value, no further beyond the extreme than one value stretches it.
        present: 1, or 0 if it is missing, [1, M].
        surprise: the larger of its two surprises, [1, M].
        before: 1 at the centroids below it, else 0, [K + 2, M].
        values, weights: the centroids between -BIG and BIG, [K + 2, M].
        own: the place of the last centroid below it, [1, M].
        after: the centroid after it, BIG if there is none, [1, M].
        known: 1 if it is exactly the centroid after it, else 0, [1, M].
    """

    q: Tensor
    bounded: Tensor
    present: Tensor
    surprise: Tensor
    before: Tensor
    values: Tensor
    weights: Tensor
    own: Tensor
    after: Tensor
    known: Tensor


class Sketch(nn.Module):
    """The past of M numbers, each as K weighted centroids [K, M] in rising order.

    Empty centroids (value BIG, weight 0) are last. With ``memory`` below 1, all weights
    are multiplied by it at every value that is learned, so that the past fades.
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
        self, q: Tensor, values: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Place]:
        """How surprising q [1, M] is to the sketch [K, M].

        Returns -log10 P(X >= q) and -log10 P(X <= q) of the past, the share of the past
        that was exactly q, all [1, M]; then what :meth:`learn` needs.

        A q of BIG is missing: it comes after all centroids, weighs nothing and leaves
        the sketch as it is, to the bit.
        """
        none = 0.0 * q
        lowest = none - BIG
        v = torch.cat([lowest, values, -lowest])
        w = torch.cat([none, weights, none])
        mass = w.cumsum(0)
        before = (v < q).float()
        under = self.get_buffer("ones") @ before
        ends = (under + self.get_buffer("step")).long()
        a, b = v.gather(0, ends).chunk(2)
        present = q < 0.5 * BIG
        known = (present & (b == q)).float()
        at_ends = w.gather(0, ends)
        below = mass.gather(0, ends[:1])
        gap = _Gap(a, b, at_ends, below, known)
        high, low, bounded = self._surprises(q, gap, v, mass)
        of_q = known * w.gather(0, ends[1:])
        equal = of_q / mass[-1:].clamp(min=TINY)
        place = Place(
            q=q,
            bounded=bounded,
            present=present.float(),
            surprise=torch.maximum(high, low),
            before=before,
            values=v,
            weights=w,
            own=under - 1.0,
            after=b,
            known=known,
        )
        return high, low, equal, place

    def learn(
        self, place: Place, gate: Tensor, settled: Tensor, guarded: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Values and weights [K, M] of the sketch that has learned a value.

        All [1, M]: ``gate`` is how much it counts, and 0 leaves the sketch as it is, to
        the bit. ``settled`` is 1 if the sketch knows enough to doubt a value, and
        ``guarded`` if one value may stretch it by a little only.
        """
        doubt = settled * (place.surprise - DOUBTED).clamp(min=0.0)
        weight = gate * place.present / (1.0 + doubt)
        q = guarded * place.bounded + (1.0 - guarded) * place.q
        # a value that is not learned is inserted as the centroid after it, with no
        # weight, and merges with that: nothing changes
        learns = (gate > 0.0).float()
        stays = 1.0 - learns
        q = learns * q + stays * place.after
        is_real = (place.after < 0.5 * BIG).float()
        known = torch.maximum(place.known, stays * is_real)
        weights = place.weights
        if self.memory < 1.0:
            weights = weights * (1.0 - (1.0 - self.memory) * learns * place.present)
        wide = _insert(q, weight, place.before, place.values, weights)
        return self._merge(*wide, place.own, known)

    def _surprises(
        self,
        q: Tensor,
        gap: _Gap,
        v: Tensor,
        mass: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Surprise above and below, and q as far as it stretches the sketch, [1, M].

        ``v`` are all centroids between -BIG and BIG, ``mass`` the weight up to each,
        both [K + 2, M].
        """
        total = mass[-1:]
        a_w, b_w = gap.weights.chunk(2)
        above_all = (gap.b > 0.5 * BIG).float()
        below_all = (gap.a < -0.5 * BIG).float()
        not_above = 1.0 - above_all
        share = (q - gap.a) / (gap.b - gap.a).clamp(min=TINY)
        half_weights = self.get_buffer("halves") * gap.weights
        up_to = (gap.below + half_weights).clamp(min=_LEAST_MASS)
        up_to_a, up_to_b = up_to.chunk(2)
        beyond_each = (total - up_to).clamp(min=_LEAST_MASS)
        from_a, from_b = beyond_each.chunk(2)
        at_b = torch.maximum(gap.known, below_all) * b_w
        own = 0.5 * (at_b + above_all * a_w) + 0.5
        near = torch.cat([from_a, up_to_b])
        far = torch.cat([from_b, up_to_a])
        along = torch.cat([share, 1.0 - share])
        tail = near * torch.exp(along * torch.log(far / near))
        outer_share = (1.0 - _OUTER) * above_all + _OUTER * not_above
        tenth = self._value_at(total * outer_share, v, mass)
        extreme = above_all * gap.a + not_above * gap.b
        width = _width(extreme, tenth)
        distance = (q - extreme).abs()
        excess = 1.0 + (distance / width).clamp(max=_FARTHEST)
        outside = torch.cat([above_all, below_all - below_all * gap.known])
        beyond = outside * (2.0 * excess * excess)
        # what is beyond is at least 2, what is not is at most 2
        rarity = torch.maximum(1.0 / (tail + own), beyond)
        surprise = torch.log10((total + 1.0) * rarity)
        high, low = surprise.clamp(max=MOST_SURPRISED).chunk(2)
        # neither in an empty sketch nor of a missing value is anything beyond
        is_beyond = (above_all - below_all).abs() * (q < 0.5 * BIG).float()
        is_beyond = is_beyond * (1.0 - gap.known)
        reach = torch.minimum(distance, _STRETCH * width)
        farthest = extreme + (above_all - below_all) * reach
        bounded = is_beyond * farthest + (1.0 - is_beyond) * q
        return high, low, bounded

    def _value_at(self, weight: Tensor, v: Tensor, mass: Tensor) -> Tensor:
        """The value [1, M] of the centroid at which ``weight`` [1, M] is reached."""
        under = self.get_buffer("ones") @ (mass < weight).float()
        return v.gather(0, under.long())

    def _merge(
        self,
        v: Tensor,
        w: Tensor,
        own: Tensor,
        known: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """K centroids [K, M] of K + 1: one pair becomes one.

        The pair is a value and its equal after it, at ``own`` if it is ``known``. Else
        it is two places the last of which is empty, or the cheapest pair. The two ends
        are never merged.
        """
        mass = w.cumsum(0)
        inner = w[1:-2]
        from_below = mass[2:-1]
        from_above = mass[-1:] - mass[1:-2] + inner
        outwards = torch.minimum(from_below, from_above)
        outwards = outwards.clamp(min=_LEAST_WEIGHT)
        pair_w = inner + w[2:-1]
        cost = pair_w / outwards + self.get_buffer("handicap")
        cheapest = cost.argmin(0, keepdim=True).float() + 1.0
        last_is_empty = (w[-1:] <= 0).float()
        at = torch.maximum(cheapest, (self.centroids - 1.0) * last_is_empty)
        at = at + known * (own - at)
        pair = torch.cat([at, at + 1.0]).long()
        one, other = v.gather(0, pair).chunk(2)
        one_w, other_w = w.gather(0, pair).chunk(2)
        both_w = (one_w + other_w).clamp(min=_LEAST_WEIGHT)
        share = other_w / both_w
        middle = one + share * (other - one)
        # far below a value before the pair, the middle at the pair, far above a value
        # after it: so a value stays, becomes the middle, or moves up
        target = self.get_buffer("apart") - 4.0 * BIG * at + middle
        staying = (self.get_buffer("place") <= at).float() * w
        previous = v[:-1]
        merged_v = torch.maximum(previous, torch.minimum(v[1:], target))
        kept = staying[:-1]
        moving_down = (w - staying)[1:]
        return merged_v, kept + moving_down


def _insert(
    q: Tensor,
    weight: Tensor,
    before: Tensor,
    v: Tensor,
    w: Tensor,
) -> tuple[Tensor, Tensor]:
    """Values and weights [K + 1, M] with q [1, M] in its place; all after it move up.

    ``before`` [K + 2, M] is 1 at the centroids below q.
    """
    lower_w = before * w
    previous = v[:-1]
    wide_v = torch.maximum(previous, torch.minimum(v[1:], q))
    staying = lower_w[1:]
    moving_up = (w - lower_w)[:-1]
    others = staying + moving_up
    place = before[:-1] - before[1:]
    return wide_v, others + weight * place


def _width(extreme: Tensor, tenth: Tensor) -> Tensor:
    """The width of the Pareto tail."""
    span = (extreme - tenth).abs()
    least_width = _LEAST_WIDTH * extreme.abs()
    return torch.maximum(span, least_width).clamp(min=TINY)
