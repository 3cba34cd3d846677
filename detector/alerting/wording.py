"""Sentences about a point: what was observed and expected, and how rare its score is.
And one about the fleet: how many alerts its budget allows.

How rare a score is follows from how often the fleet's held-out rows reached it
(:meth:`detector.pipeline.alerts.AlertComposer.rarity`). It is an order of magnitude and
worded as one. No rate is named that history can't bear out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from detector.alerting.incident_rates import FleetRates
from detector.events import AnomalyKind, FeatureDeviation, Rarity, RateBound

# Name, article and length in weeks, the longest first.
_YEAR = 365.25 / 7
_HOUR = 1 / 168
_SPANS = (
    ("year", "a", _YEAR),
    ("month", "a", 30.4 / 7),
    ("week", "a", 1.0),
    ("day", "a", 1 / 7),
    ("hour", "an", _HOUR),
)

# Share of a span from which a time is worded in it: 6.7 days are a week.
_NEARLY = 0.95

# Weeks. No history bears out a longer figure.
_RAREST = 10 * _YEAR

# Spans that a rate of the fleet is worded in, the shortest first. Who plans for pages
# thinks in days, not in hours.
_FLEET_SPANS = tuple(span for span in reversed(_SPANS) if span[0] != "hour")

# Metrics that a sentence names.
_NAMED = 3

# Significant digits of a value; more if they would hide the difference.
_DIGITS = 4
_ALL_DIGITS = 9

_FLATLINE = "has not changed for longer than it used to, at "
_TREND = ", which would be as anomalous: its recent trend is what stands out"


def rarity_in_words(per_week: float) -> str:
    """``once in 3 weeks``, of a score that a stream reaches ``per_week`` times."""
    weeks = 1 / per_week if per_week > 0 else math.inf
    if weeks > _RAREST:
        return "less than once in 10 years"
    if weeks < _HOUR:
        return "more than once an hour"
    name, article, span = next(s for s in _SPANS if weeks >= _NEARLY * s[2])
    count = round(weeks / span)
    return f"once in {count} {name}s" if count > 1 else f"once {article} {name}"


def how_rare(rarity: Rarity) -> str:
    """:func:`rarity_in_words` as an order of magnitude, or that nobody can tell.

    ``about once in 3 weeks on this stream``.
    """
    if rarity.bound is RateBound.AT_MOST:
        return "rarer than its history can tell"
    words = rarity_in_words(rarity.per_week)
    if rarity.bound is RateBound.AT_LEAST:
        return f"{words} on this stream, or more often"
    return f"about {words} on this stream" if words.startswith("once") else words


def fleet_in_words(fleet: FleetRates, source: str) -> str:
    """``240 streams: at most about 34 false alarms a day at this budget; …``.

    The incidents of ``source``, such as ``this data``, follow: true and false ones.
    """
    if not fleet.streams:
        return "no streams yet"
    noun = "stream" if fleet.streams == 1 else "streams"
    allowed = _allowed(fleet.false_alarms_per_week)
    return (
        f"{fleet.streams:,} {noun}: {allowed} at this budget;"
        f" {source}: {_realised(fleet)}"
    )


def _allowed(per_week: float) -> str:
    rate = rate_in_words(per_week, "false alarm")
    return f"at most {rate}" if rate.startswith("about") else rate


def _realised(fleet: FleetRates) -> str:
    per_week = fleet.incidents_per_week
    if per_week is None:
        return "no rate yet, since no stream has a day of points"
    if not per_week:
        return "no incident"
    return f"{rate_in_words(per_week, 'incident')}, true and false"


def rate_in_words(per_week: float, noun: str) -> str:
    """``about 34 false alarms a day``, in the shortest span that has at least one."""
    for name, article, weeks in _FLEET_SPANS:
        count = float(f"{per_week * weeks:.2g}")
        if count >= 1:
            shown = f"{count:,.1f}".removesuffix(".0")
            ending = "" if count == 1 else "s"
            return f"about {shown} {noun}{ending} {article} {name}"
    return f"less than one {noun} a year"


def observed_in_words(deviations: Sequence[FeatureDeviation]) -> str:
    """Observed and expected values of the metrics that contributed most.

    ``deviations`` are in order of contribution; those without one are left out.
    """
    contributing = [d for d in deviations if d.contribution > 0]
    return ", ".join(_deviation_in_words(d) for d in contributing[:_NAMED])


def _deviation_in_words(deviation: FeatureDeviation) -> str:
    still = _FLATLINE if deviation.kind is AnomalyKind.FLATLINE else ""
    trend = _TREND if deviation.kind is AnomalyKind.TREND else ""
    observed = number(deviation, deviation.observed)
    expected = number(deviation, deviation.expected)
    return f"{deviation.name} {still}{observed} (expected {expected}{trend})"


def number(deviation: FeatureDeviation, value: float) -> str:
    """A value of this metric with its unit, so precise that the deviation shows."""
    text = f"{value:.{digits(deviation)}g}"
    unit = deviation.unit
    return f"{text}{unit}" if unit in ("", "/s") else f"{text} {unit}"


def digits(deviation: FeatureDeviation) -> int:
    """Significant digits in which observed and expected differ, if any do."""
    observed = f"{deviation.observed:.{_DIGITS}g}"
    expected = f"{deviation.expected:.{_DIGITS}g}"
    return _DIGITS if observed != expected else _ALL_DIGITS
