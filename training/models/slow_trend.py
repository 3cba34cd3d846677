"""A metric that leaves its daily profile slowly: what no hour explains, but a day does.

Theory of operation. The *baseline* is what the profile held of this time of the day
before the slot began: a line through the contents of two slots. So a leak does not move
its own baseline on its first day. The *residual* is the distance to it. Its running
mean of an hour is compared to its *width*: the root mean square of that mean in the
last two weeks. Days that turn from or to a weekend have a width of their own.

The *total* is a cumulative sum (CUSUM, Page 1954): each hour adds by how many widths
the mean is beyond :data:`_ALLOWANCE`, at most :data:`_FARTHEST`. So neither an hour nor
a spike starts it. From :data:`LEAKS` on the metric *leaks*. The stream is then in an
incident and learns nothing, so the baseline stays where it was.

A leak *moves* as long as the mean runs ahead of a slower one. While it moves it is not
accepted (:mod:`training.models.learning_gate`). It is *back* if the metric is at most a
third of the distance away. In an incident of another kind, such as a step, the total
grows only if the metric moves on. A leak that came back teaches its width a little, so
one that comes every night is told a few times.

All are [1, N] for N metrics.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from detector.timestamps import DAY, HOUR
from training.models.surprise_state import SLOTS, Days, Point, TrendState

# Total from which a metric leaks, and the largest total, in widths times hours
# (docs/experiments/leaks.md).
LEAKS = 7.0
_MOST = 18.0
# What a leak adds once to the total, so that it does not end where it began.
_LATCH = 4.0
# Widths that are usual, and the most that an hour counts for
# (docs/experiments/leaks.md).
_ALLOWANCE = 2.25
_FARTHEST = 6.0
# Seconds that the running means remember, and the fewest points.
_MEAN_MEMORY = HOUR
_SLOW_MEMORY = 6 * HOUR
_FEWEST_POINTS = 4.0
# Memory of the width, in seconds, and the widths to which its update is limited.
_WIDTH_MEMORY = 14 * DAY
_WIDTH_STEP = 3.0
# Days of either kind before a width is trusted; a younger one is taken for wider.
_ORDINARY_DAYS = 2.0
_TURN_DAYS = 2.9
_YOUTH = 1.5
# Least width as a share of the running mean. By judgement: nobody gets up for less.
_LEAST_WIDTH = 1e-3
_TINY = 1e-30
# Deviations to which a single residual counts: a burst is no trend.
_LIMIT = 5.0
# Seconds after which every slot was visited, and the longest tick at which each is.
_WHOLE_DAY = 27 * HOUR
_LONGEST_TICK = HOUR
# Share of a slot that has passed at what its content is the mean of: late points weigh
# more (training/models/day_profile.py).
_MIDDLE = 0.63
# Share of the distance within which a leak is back.
_BACK_SHARE = 1 / 3
# Deviations that it must have dropped by: less may be noise.
_CLEAR = 2.0
# Shares of the width and of the mean by which the mean is ahead of the slower one while
# it moves.
_AHEAD_OF_WIDTH = 0.5
_AHEAD = 0.05
# Seconds in which the total of a leak that is back fades.
_BACK_SECONDS = 900.0
# Gains of what follows a metric that is back or accepted.
_PROMPT = 0.3
# Share of the square of a leak that came back that each of some three points adds to
# that of the width.
_HABIT = 0.012
# The first and last days that turn: Saturday to Monday.
_SATURDAY = 4.5
_MONDAY = 0.5


class Baseline(NamedTuple):
    """A point beside its baseline.

    Attributes:
        value: the baseline itself.
        residual: the distance to it, 0 where it is not known.
        known: 1 where it is known and the metric is present.
        is_leak: 1 where the metric leaked before the point.
        is_dropped: 1 where it was away and is back.
        nearby: how far a mean of some minutes is from the baseline.
        visited, previous: contents of this slot and of the one before, before the day.
    """

    value: Tensor
    residual: Tensor
    known: Tensor
    is_leak: Tensor
    is_dropped: Tensor
    nearby: Tensor
    visited: Tensor
    previous: Tensor


class Trend(NamedTuple):
    """What the trend says of a point.

    Attributes:
        total: the cumulative sum with this point, 0 where the metric does not leak.
        is_moving: 1 where a leak goes on.
        shift: by how much the profile moves, where a new level is accepted.
        after: the state after it.
    """

    total: Tensor
    is_moving: Tensor
    shift: Tensor
    after: TrendState


def find_baseline(
    point: Point,
    recent: Tensor,
    deviation: Tensor,
    points: Tensor,
    days: Days,
    before: TrendState,
) -> Baseline:
    """Where a metric would be without a trend.

    ``recent`` is a mean of some minutes, ``deviation`` that of the residual.
    """
    is_weekend = (point.day > _SATURDAY).float()
    slot = point.slot
    last = slot - 1.0 + SLOTS * (slot < 0.5).float()
    following = slot + 1.0 - SLOTS * (slot > SLOTS - 1.5).float()
    beside = torch.cat([last, slot, following]).long()
    contents = days.working + is_weekend * days.weekend
    yesterday, own, ahead = contents.gather(0, beside).chunk(3)
    seen = days.often.gather(0, beside[1:]).amin(0, keepdim=True)
    is_new = point.present * ((slot - before.slot).abs() > 0.5).float()
    follows = ((last - before.slot).abs() < 0.5).float()
    passed = follows * before.visited + (1.0 - follows) * yesterday
    previous = before.previous + is_new * (passed - before.previous)
    visited = before.visited + is_new * (own - before.visited)
    place = point.into_slot - _MIDDLE
    is_early = (place < 0.0).float()
    neighbour = is_early * previous + (1.0 - is_early) * ahead
    value = visited + place.abs() * (neighbour - visited)
    is_whole = (points * point.tick > _WHOLE_DAY).float()
    is_quick = (point.tick <= _LONGEST_TICK).float()
    known = point.present * is_whole * is_quick * (seen > 0.5).float()
    nearby = known * (recent - value)
    side = torch.sign(before.mean)
    size = before.mean.abs()
    left = side * nearby
    is_near = (left <= _BACK_SHARE * size).float()
    is_clear = (size - left > _CLEAR * deviation).float()
    is_away = torch.maximum((before.total > 0).float(), point.is_hot)
    return Baseline(
        value=value,
        residual=known * (point.x - value),
        known=known,
        is_leak=(before.total >= LEAKS).float(),
        is_dropped=known * is_away * is_near * is_clear,
        nearby=nearby,
        visited=visited,
        previous=previous,
    )


def follow_trend(
    point: Point,
    found: Baseline,
    deviation: Tensor,
    level: Tensor,
    before: TrendState,
) -> Trend:
    """The trend after a point.

    ``deviation`` is that of the residual, and ``level`` the size of the metric.
    """
    least = _LEAST_WIDTH * level
    is_turn = ((point.day > _SATURDAY) | (point.day < _MONDAY)).float()
    width, is_ready = _width(is_turn, least, before)
    mean, slow = _means(point, found, deviation + least, before)
    is_away = (before.mean.abs() > width).float()
    pull = _PROMPT * found.is_dropped * is_away
    mean = mean + pull * (found.nearby - mean)
    slow = slow + pull * (found.nearby - slow)
    side = torch.sign(mean)
    ahead = side * (mean - slow)
    least_ahead = torch.maximum(_AHEAD_OF_WIDTH * width, _AHEAD * mean.abs())
    is_moving = (ahead > least_ahead).float()
    z = mean.abs() / width
    other = point.is_hot * (1.0 - found.is_leak)
    may_grow = is_ready * (1.0 - other * (1.0 - is_moving))
    drive = (z.clamp(max=_FARTHEST) - _ALLOWANCE) * (point.tick * (1.0 / HOUR))
    grows = drive.clamp(min=0.0) * may_grow + drive.clamp(max=0.0)
    total = (before.total + found.known * grows).clamp(0.0, _MOST)
    begins = (total >= LEAKS).float() * (1.0 - found.is_leak)
    total = total + _LATCH * begins
    accepts = _PROMPT * point.is_accepted * found.known
    unusual = (z > 1.0).float()
    is_over = torch.maximum(found.is_dropped, found.known * (1.0 - unusual))
    fades = is_over * (point.tick * (1.0 / _BACK_SECONDS)).clamp(max=_PROMPT)
    total = total * (1.0 - torch.maximum(fades, accepts))
    shift = accepts * mean
    since = unusual * (before.since + point.tick)
    since = before.since + point.present * (since - before.since)
    leaking = (total >= LEAKS).float()
    after = TrendState(
        slot=before.slot + point.present * (point.slot - before.slot),
        visited=found.visited + shift,
        previous=found.previous + shift,
        ordinary=before.ordinary + found.known * (1.0 - is_turn) * point.tick,
        turned=before.turned + found.known * is_turn * point.tick,
        mean=mean - shift,
        slow=slow - accepts * slow,
        width=before.width,
        turn_width=before.turn_width,
        total=total,
        since=since,
        lasts=point.is_hot * (before.lasts + found.known * point.tick),
        leaks_for=leaking * since,
    )
    after = _learn_widths(point, found, is_turn, before, after)
    return Trend(leaking * total, leaking * is_moving, shift, after)


def _width(is_turn: Tensor, least: Tensor, before: TrendState) -> tuple[Tensor, Tensor]:
    """The usual size of the mean, and whether it is known well enough."""
    on_turn = is_turn * torch.maximum(before.turn_width, before.width)
    square = on_turn + (1.0 - is_turn) * before.width
    seconds = is_turn * 0.5 * before.turned + (1.0 - is_turn) * before.ordinary
    days = (seconds * (1.0 / DAY)).clamp(min=0.1)
    width = torch.sqrt(square) * (1.0 + _YOUTH / days)
    is_ready = (before.ordinary > _ORDINARY_DAYS * DAY).float()
    knows_turns = (before.turned > _TURN_DAYS * DAY).float()
    is_ready = is_ready * (1.0 - is_turn * (1.0 - knows_turns))
    return torch.maximum(width, least).clamp(min=_TINY), is_ready


def _means(
    point: Point, found: Baseline, deviation: Tensor, before: TrendState
) -> tuple[Tensor, Tensor]:
    """The running means of the residual after a point.

    In an incident of another kind they are means since it began, so a step is no trend.
    """
    limit = _LIMIT * deviation + point.is_hot * 1e30
    residual = torch.minimum(torch.maximum(found.residual, -limit), limit)
    tick = point.tick
    other = point.is_hot * (1.0 - found.is_leak)
    since = tick / (before.lasts + tick)
    rate = torch.maximum(tick * (1.0 / _MEAN_MEMORY), other * since)
    slow_rate = torch.maximum(tick * (1.0 / _SLOW_MEMORY), other * since)
    gain = found.known * rate.clamp(max=1.0 / _FEWEST_POINTS)
    slow_gain = found.known * slow_rate.clamp(max=1.0 / _FEWEST_POINTS)
    mean = before.mean + gain * (residual - before.mean)
    slow = before.slow + slow_gain * (residual - before.slow)
    return mean, slow


def _learn_widths(
    point: Point,
    found: Baseline,
    is_turn: Tensor,
    before: TrendState,
    after: TrendState,
) -> TrendState:
    """The state with both widths after a point that is part of no incident, or of a
    leak that came back.
    """
    square = after.mean * after.mean
    seconds = is_turn * after.turned + (1.0 - is_turn) * after.ordinary
    is_young = (seconds < DAY).float()
    usual = torch.maximum(before.width, is_turn * before.turn_width)
    limit = _WIDTH_STEP * _WIDTH_STEP * usual + 1e30 * is_young
    limited = torch.minimum(square, limit)
    learns = found.known * (1.0 - point.is_hot) * point.tick
    least = 1.0 / _WIDTH_MEMORY
    rate = torch.maximum(1.0 / after.ordinary.clamp(min=1.0), least * found.known)
    turn_rate = torch.maximum(1.0 / after.turned.clamp(min=1.0), least * found.known)
    gain = (learns * (1.0 - is_turn) * rate).clamp(max=1.0)
    turn_gain = (learns * is_turn * turn_rate).clamp(max=1.0)
    habit = _HABIT * found.is_leak * found.is_dropped * before.mean * before.mean
    return after._replace(
        width=before.width + gain * (limited - before.width) + habit,
        turn_width=before.turn_width + turn_gain * (limited - before.turn_width),
    )
