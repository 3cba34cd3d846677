"""How far values are from what was expected, in their own terms.

The score says how unexpected a point is for its stream. It does not say whether anybody
would care: a constant that moves by a thousandth is as unexpected as an outage. These
rules look at the values of the *leading* metrics: those that contribute to the error at
least half as much as the first.

- A deviation is *negligible* if it is smaller than the share that the operator names.
  It begins no incident, unless the metric stands still.
- A deviation is *slight* under :data:`SLIGHT_SHARE`. It is never critical.
- A *first count* is a 1 of a metric that is expected to be 0. It is not critical before
  it lasts.
- A *total loss* is a first metric of which at most :data:`LOSS_SHARE` is left. It is
  critical at once. A metric that is often near zero does not reach a threshold there.
"""

from __future__ import annotations

import numpy as np

from detector.alerting.thresholds import Bools
from detector.events import F32

#: Share of the larger of the observed and the expected value. By judgement: a hundredth
#: is worth a look, and nobody's sleep.
SLIGHT_SHARE = 0.01

#: Share of the expected value that is left of a metric after a total loss. By
#: judgement: below it, what is left is health checks and stragglers.
LOSS_SHARE = 0.02

# Share of the largest contribution from which a metric is a leading one.
_LEADING_SHARE = 0.5

# Up to this value a metric that counts is expected to be 0.
_NEARLY_ZERO = 0.1


def leading(contribution: F32) -> Bools:
    """Which metrics lead, bool [K, F], by their ``contribution`` [K, F].

    If none contributes, all do.
    """
    largest = contribution.max(axis=1, keepdims=True)
    is_leading: Bools = contribution >= _LEADING_SHARE * largest
    return is_leading


def are_negligible(
    x: F32, expected: F32, contribution: F32, least_share: float
) -> Bools:
    """Whether every leading metric deviates by less than this share, bool [K].

    ``x``, ``expected`` and ``contribution`` are float32 [K, F].
    """
    is_within = _are_within(x, expected, least_share)
    return _all_leading(is_within, x, contribution)


def are_slight(x: F32, expected: F32, contribution: F32) -> Bools:
    """Whether every leading metric deviates slightly, bool [K]."""
    is_slight = _are_within(x, expected, SLIGHT_SHARE)
    return _all_leading(is_slight, x, contribution)


def are_first_counts(x: F32, expected: F32, contribution: F32) -> Bools:
    """Whether every leading metric is 1 in place of 0, bool [K]."""
    is_first: Bools = (x == 1) & (np.abs(expected) <= _NEARLY_ZERO)
    return _all_leading(is_first, x, contribution)


def are_lost(x: F32, expected: F32) -> Bools:
    """Which values are a total loss, bool, of any shape. NaN is none."""
    left = np.abs(x)
    is_lost: Bools = left <= LOSS_SHARE * np.abs(expected)
    is_nonzero: Bools = expected != 0
    return is_lost & is_nonzero


def is_lost(x: float, expected: float) -> bool:
    """:func:`are_lost` of one value."""
    return expected != 0 and abs(x) <= LOSS_SHARE * abs(expected)


def _are_within(x: F32, expected: F32, share: float) -> Bools:
    """Whether values differ by less than ``share`` of the larger one, bool [K, F]."""
    larger = np.maximum(np.abs(x), np.abs(expected))
    is_within: Bools = np.abs(x - expected) < share * larger
    return is_within


def _all_leading(applies: Bools, x: F32, contribution: F32) -> Bools:
    """Whether something applies to all leading metrics, and there is one, bool [K]."""
    is_leading = leading(contribution) & ~np.isnan(x)
    others_or_applies = ~is_leading | applies
    return np.asarray(others_or_applies.all(axis=1) & is_leading.any(axis=1))
