"""The title of an alert: one line that tells a person what happened, and where.

``web-1: requests per second dropped to 0, expected about 120``. The stream of one
metric is named ``<stream>/<metric>``, and the title tells the two apart. An incident of
several metrics leads with the one that contributed most.
"""

from __future__ import annotations

from collections.abc import Sequence

from detector.alerting.quantities import metric_in_words, observed_and_expected
from detector.events import Alert, AnomalyKind, FeatureDeviation, Reason
from detector.names import metric_of
from detector.phrases import duration
from detector.timestamps import rfc3339

# A metric that contributes at least this share of what the first one does is named.
# By judgement: less is a consequence, or noise.
_NAMED_SHARE = 0.5
_MOST_NAMED = 2


def title(alert: Alert) -> str:
    """What happened to which metric of which stream, in one line."""
    top = [d for d in alert.deviations if d.contribution > 0]
    place, is_single = _place(alert.stream, top)
    if not alert.firing:
        subject = f"{place}: {metric_in_words(top[0])}" if is_single else place
        return f"{subject} {_ending(alert, top if is_single else ())}"
    happened = _what_happened(top) if top else "does not behave as it used to"
    separator = ": " if top else " "
    repeats = f", {repeats_in_words(alert)}" if alert.repeats > 1 else ""
    return f"{place}{separator}{happened}{repeats}"


def repeats_in_words(alert: Alert) -> str:
    """``3 times since 2026-01-08T04:25:00Z``."""
    since = rfc3339(alert.repeats_since, digits=0)
    return f"{alert.repeats} times since {since}"


def _place(stream: str, top: Sequence[FeatureDeviation]) -> tuple[str, bool]:
    """The stream without its metric's name, and whether it is one of one metric."""
    head, separator, _ = stream.rpartition("/")
    is_single = bool(separator and head and top) and metric_of(stream) == top[0].name
    return (head, True) if is_single else (stream, False)


def _what_happened(top: Sequence[FeatureDeviation]) -> str:
    first = top[0]
    least = _NAMED_SHARE * first.contribution
    others = [metric_in_words(d) for d in top[1:] if d.contribution >= least]
    sentence = f"{metric_in_words(first)} {_deviation(first)}"
    if not others:
        return sentence
    names = " and ".join(others[:_MOST_NAMED])
    verb = "deviates" if len(others) == 1 else "deviate"
    return f"{sentence}; {names} {verb} too"


def _deviation(deviation: FeatureDeviation) -> str:
    observed, expected = observed_and_expected(deviation)
    if deviation.kind is AnomalyKind.FLATLINE:
        return f"has stood still for longer than it used to, at {observed}"
    if deviation.kind is AnomalyKind.TREND:
        return f"moves as it did not before: {observed}, expected about {expected}"
    verb = "dropped" if deviation.observed < deviation.expected else "rose"
    return f"{verb} to {observed}, expected about {expected}"


def _ending(alert: Alert, top: Sequence[FeatureDeviation]) -> str:
    """What became of the incident; ``top`` has the metric of a stream of one."""
    ends_at = alert.at if alert.ends_at is None else alert.ends_at
    after = f"after {duration(ends_at - alert.starts_at)}"
    if alert.reason is Reason.RECOVERED:
        return f"is back {after}: close to its own recent past again"
    if alert.reason is Reason.ACCEPTED and top:
        observed, _ = observed_and_expected(top[0])
        return f"stays at {observed}: accepted as the new normal {after}"
    endings = {
        Reason.ACCEPTED: f"stays as it is: accepted as the new normal {after}",
        Reason.ENDED: f"no longer stands out {after}: its score is back to normal",
        Reason.REPLACED: "is no longer watched in this form: another bundle took over",
        Reason.LOST: "is no longer followed: the store was lost, and with it its past",
        Reason.EXPIRED: f"is no longer reported {after}, though it may go on",
    }
    return endings[alert.reason]
