"""How long metrics have not changed, as one piece of evidence for a stream; no I/O.

Theory of operation. As in :mod:`training.models.flatline`: a run of equal values that
outlasts all K past ones is surprising in the measure of log10(K + 1), and reaches its
full surprise at threefold length. Two things differ, because a stream of many metrics
holds flags and counters.

- *Habit.* A metric that changes at fewer than one point in four rests by habit. Its
  rests count the less, the more seldom it changes, and so does all it does.
- *One piece.* Metrics that rest at the same time do so for one reason, such as a
  collector that repeats itself. Together they count as the most surprising of them.

All matrices are transposed: [F, B].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from training.models.flatline import FADES, PATIENCE

# Share of the points at which a metric changes, under which it rests by habit.
_HABIT = 0.25
# Decades of surprise at full length, for each natural logarithm of the runs.
_RARITY = 1.0 / math.log(10.0)
# ln of the runs that are counted at most.
_MOST_RUNS = 14.0
# Least sum that is divided by.
_LEAST_SUM = 1e-9


class Runs(NamedTuple):
    """[F, B] each: points of the present run, of the longest one before it, and ln of
    the number of runs.
    """

    run: Tensor
    longest: Tensor
    known: Tensor


class Rests(NamedTuple):
    """What a point says of rests, [F, B] each.

    Attributes:
        runs: the runs after it.
        decades: how surprising it is that a metric still rests.
        habit: how far a metric is from resting by habit, between 0 and 1.
    """

    runs: Runs
    decades: Tensor
    habit: Tensor

    def after(self, accepted: Tensor) -> Runs:
        """The runs; where [1, B] a state is accepted, no rest of it is surprising."""
        run, longest, known = self.runs
        return Runs(run, torch.maximum(longest, accepted * run), known)


def follow_runs(
    is_same: Tensor,
    present: Tensor,
    teaches: Tensor,
    age: Tensor,
    before: Runs,
) -> Rests:
    """What a point says, and the runs after it.

    ``is_same`` [F, B]: whether the value is the last one. A missing value, of which
    ``present`` [F, B] is 0, is the last one too. Where ``teaches`` [1, B] is 0, no run
    becomes the longest. ``age`` [1, B] is in points.
    """
    same = is_same.float()
    changed = 1.0 - same
    run = same * (before.run + present)
    further = (run - before.longest).clamp(min=0.0) / (before.longest + PATIENCE)
    inverse = torch.exp(-before.known)
    # ln(K + 1) grows by about 1 / (K + 1)
    known = (before.known + changed * inverse).clamp(max=_MOST_RUNS)
    often = (1.0 / (_HABIT * (age + 1.0))) / inverse
    habit = often.clamp(max=1.0)
    full = (0.5 * further).clamp(max=1.0)
    decades = (_RARITY * before.known) * full * (habit * present)
    ended = torch.maximum(before.longest, changed * (teaches * before.run))
    return Rests(Runs(run, (1.0 - FADES) * ended, known), decades, habit)


def as_one_piece(decades: Tensor) -> Tensor:
    """Squares of ``decades`` [F, B], with the sum of the largest of them."""
    squares = decades * decades
    total = squares.sum(dim=0, keepdim=True)
    most = squares.amax(dim=0, keepdim=True)
    return squares * (most / total.clamp(min=_LEAST_SUM))
