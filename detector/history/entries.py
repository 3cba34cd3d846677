"""One incident as the page and the API list it: an alert's body about its peak."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

import msgspec
import numpy as np

from detector.events import Alert, AnomalyKind, Labels, Partition, Reason, Severity
from detector.history.peaks import Peak
from detector.notify.labels import Labelling
from detector.notify.payload import AlertBody, alert_body
from detector.pipeline.alerts import AlertComposer

# Annotations about a point. They are left out if that point is not known.
_OF_A_POINT: Final = (
    "score",
    "threshold",
    "rate_per_week",
    "observed",
    "expected",
    "contributions",
    "anomaly_kind",
    "at",
)


@dataclass(frozen=True, slots=True)
class Incident:
    """What is known of an incident apart from its peak.

    Attributes:
        alert: its last notification, whose point is its peak until one is higher.
        is_known: False if there is no such notification, and ``alert`` has no point.
        row: the decision row that it was restored from.
    """

    alert: Alert
    is_known: bool = True
    row: np.void | None = None

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """An incident that begins now."""
        return cls(alert)

    @classmethod
    def unlisted(cls, alert: Alert) -> Self:
        """An incident that ends and was not listed."""
        return cls(alert, is_known=False)

    @classmethod
    def restored(
        cls,
        partition: Partition,
        stream: str,
        row: np.void,
        last: Alert | None,
        tags: Labels | None = None,
    ) -> Self:
        """An open incident, from its decision row and its last notification, if any."""
        severity = Severity(int(row["severity"]))
        if last is not None:
            return cls(replace(last, severity=severity), row=row.copy())
        alert = Alert(
            partition=partition,
            stream=stream,
            severity=severity,
            reason=Reason.FIRED,
            starts_at=float(row["onset"]),
            ends_at=None,
            at=float(row["onset"]),
            score=np.nan,
            threshold=np.nan,
            tags=dict(tags or {}),
        )
        return cls(alert, is_known=False, row=row.copy())

    def updated(self, alert: Alert) -> Self:
        """It became critical or returned: ``alert`` says so."""
        updated = replace(
            self.alert,
            severity=alert.severity,
            reason=alert.reason,
            repeats=alert.repeats,
            repeats_since=alert.repeats_since,
        )
        return replace(self, alert=updated)

    def ended(self, alert: Alert) -> Self:
        """It is over: ``alert`` says so, and is about a point that is not its peak."""
        ended = replace(
            self.alert,
            reason=alert.reason,
            ends_at=alert.ends_at,
            severity=alert.severity,
        )
        return replace(self, alert=ended)


def entry(
    incident: Incident, peak: Peak | None, composer: AlertComposer, labelling: Labelling
) -> AlertBody:
    """The alert's body with score, threshold, metrics and time of the peak.

    What is not known is left out.
    """
    alert = incident.alert
    if peak is not None:
        alert = _at_peak(alert, peak, composer)
    body = alert_body(alert, labelling)
    if peak is not None:
        return body
    annotations = _without_peak(incident, body.annotations, composer)
    return msgspec.structs.replace(body, annotations=annotations)


def _at_peak(alert: Alert, peak: Peak, composer: AlertComposer) -> Alert:
    threshold = composer.threshold(peak.score, peak.threshold, alert.severity)
    rarity = composer.rarity(alert.stream, peak.score, peak.row)
    kind = alert.deviations[0].kind if alert.deviations else AnomalyKind.VALUE
    rates = {d.name for d in alert.deviations if d.is_rate}
    is_rate = [name in rates for name in composer.feature_names(alert.stream)]
    return replace(
        alert,
        at=peak.at,
        score=peak.score,
        threshold=threshold,
        per_week=rarity.per_week,
        rate_bound=rarity.bound,
        deviations=composer.deviations(
            alert.stream,
            peak.observed,
            peak.expected,
            peak.contribution,
            kind,
            np.array(is_rate),
        ),
    )


def _without_peak(
    incident: Incident, annotations: dict[str, str], composer: AlertComposer
) -> dict[str, str]:
    """What is known if no point was higher since the incident was listed."""
    row = incident.row
    if row is None and incident.is_known:
        return annotations
    sentences = [annotations["description"]]
    if not incident.is_known:
        annotations = {k: v for k, v in annotations.items() if k not in _OF_A_POINT}
        sentences = _without_a_point(incident, annotations, composer)
    if row is not None and row["peak_margin"] > 0:
        margin = f"{row['peak_margin']:.2f}"
        annotations = annotations | {"peak_margin": margin}
        sentences.append(f"Its score was up to {margin} above its threshold.")
    return annotations | {"description": " ".join(sentences)}


def _without_a_point(
    incident: Incident, annotations: dict[str, str], composer: AlertComposer
) -> list[str]:
    sentences = []
    if incident.row is not None:
        stream = incident.alert.stream
        sentences.append(_when_it_fired(stream, incident.row, composer))
    if "duration" in annotations:
        sentences.append(f"It lasted {annotations['duration']}.")
    return sentences


def _when_it_fired(stream: str, row: np.void, composer: AlertComposer) -> str:
    name = composer.feature(stream, int(row["metric"])).name
    observed = float(row["observed"])
    # a flatline is kept as NaN: its value is nothing to come back from
    seen = "stood still" if np.isnan(observed) else f"was {observed:.4g}"
    return f"When it fired, {name} {seen} (expected {row['expected']:.4g})."
