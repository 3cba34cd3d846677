"""An alert's log line says when and what: a pager shows nothing else."""

from __future__ import annotations

from dataclasses import replace

import structlog

from detector.events import (
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Reason,
)
from detector.pipeline.alert_log import AlertLog
from tests.unit.detector.notify.alerts import fired

FIRED = replace(
    fired("host-1", starts=1_700_000_000.0),
    at=1_700_000_060.0,
    score=7.123,
    threshold=5.678,
    deviations=(
        FeatureDeviation("cpu", "%", 93.123456, 41.0, 0.9, AnomalyKind.TREND),
        FeatureDeviation("mem", "%", 5.0, 6.0, 0.1),
    ),
)


def logged(alert: Alert) -> dict[str, object]:
    with structlog.testing.capture_logs() as lines:
        AlertLog().alerted(alert)
    (line,) = lines
    return dict(line)


def test_a_line_has_the_event_time_and_the_values() -> None:
    line = logged(FIRED)
    assert line["at"] == "2023-11-14T22:14:20.000Z"
    assert line["since"] == "2023-11-14T22:13:20.000Z"
    assert (line["metric"], line["anomaly_kind"]) == ("cpu", "trend")
    assert (line["observed"], line["expected"]) == (93.1235, 41.0)
    assert (line["score"], line["threshold"]) == (7.12, 5.68)


def test_an_alert_without_values_is_logged() -> None:
    assert "metric" not in logged(replace(FIRED, deviations=()))


def test_the_end_of_an_incident_is_no_warning() -> None:
    assert logged(FIRED)["log_level"] == "warning"
    resolved = replace(FIRED, reason=Reason.RECOVERED, ends_at=FIRED.at)
    assert (logged(resolved)["log_level"], logged(resolved)["status"]) == (
        "info",
        "resolved",
    )
