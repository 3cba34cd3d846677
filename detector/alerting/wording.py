"""Why a point did or did not alert, in a sentence: what was expected, what was seen, in
which metrics, and how rare that is.

*How rare* is the rate at which the fleet's held-out rows raised incidents at such a
score, read at the stream's own place: its score less what its own evidence and its tick
moved its level by, and as it is once the lifts after incidents have settled: a score at
a budget's level is as rare as the budget. Beyond what was counted it follows the tail
fit, so it is an order of magnitude said as one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.events import AnomalyKind, FeatureDeviation

# in weeks
_SPANS = (
    ("hour", 1 / 168),
    ("day", 1 / 7),
    ("week", 1.0),
    ("month", 30.4 / 7),
    ("year", 365.25 / 7),
)
_RAREST = 10 * 365.25 / 7  # weeks: beyond it no history bears a figure out
_NAMED = 3
_STILL = "stands still, for longer than it used to, at "
_COURSE = ", and as odd at that: what stands out is how it moved of late"


def rarity_in_words(per_week: float) -> str:
    """``once in 3 weeks``, for scores that a stream like this reaches so many times a
    week.
    """
    weeks = 1 / per_week if per_week > 0 else np.inf
    if weeks > _RAREST:
        return "less than once in 10 years"
    if weeks < _SPANS[0][1]:
        return "more than once an hour"
    name, span = max(
        (s for s in _SPANS if weeks >= 0.95 * s[1]),
        key=lambda s: s[1],
        default=_SPANS[0],
    )
    count = round(weeks / span)
    return (
        f"once in {count} {name}s"
        if count > 1
        else f"once {'an' if name == 'hour' else 'a'} {name}"
    )


def about(per_week: float) -> str:
    """:func:`rarity`, an order of magnitude."""
    said = rarity_in_words(per_week)
    return f"about {said}" if said.startswith("once") else said


def observed_in_words(deviations: Sequence[FeatureDeviation]) -> str:
    """What was seen against what was expected, of the metrics that contributed most."""
    top = [d for d in deviations if d.contribution > 0][:_NAMED]
    return ", ".join(map(_seen, top))


def _seen(of: FeatureDeviation) -> str:
    still = _STILL * (of.kind is AnomalyKind.FLATLINE)
    course = _COURSE * (of.kind is AnomalyKind.TREND)
    return f"{of.name} {still}{number(of, of.observed)} (expected {number(of, of.expected)}{course})"


def number(of: FeatureDeviation, value: float) -> str:
    """With its unit, and so many digits that what was observed differs from what was
    expected.
    """
    return f"{value:.{digits(of)}g}{' ' if of.unit else ''}{of.unit}"


def digits(of: FeatureDeviation) -> int:
    return 4 if f"{of.observed:.4g}" != f"{of.expected:.4g}" else 9
