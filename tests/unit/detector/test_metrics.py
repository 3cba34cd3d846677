"""Every label set exists from the start, under the names that rules and pages read."""

from __future__ import annotations

import math

import pytest
from prometheus_client import Counter

from detector.errors import RejectReason, ResetCause
from detector.events import Reason
from detector.metrics import RECEIVERS, Metrics, declared_metrics

AT_ZERO = [
    ("detector_records_total", {}),
    ("detector_scored_total", {}),
    *[("detector_rejected_total", {"reason": r.value}) for r in RejectReason],
    *[("detector_state_resets_total", {"cause": c.value}) for c in ResetCause],
    *[
        ("detector_alerts_total", {"status": status, "severity": severity})
        for status in ("firing", "escalated", "resolved")
        for severity in ("warning", "critical")
    ],
    *[
        ("detector_notifications_total", {"outcome": outcome})
        for outcome in ("delivered", "retried", "dead_lettered")
    ],
    *[("detector_decisions_total", {"reason": r.label}) for r in Reason],
    ("detector_posts_total", {"receiver": "pager", "outcome": "retried"}),
    ("detector_incidents_per_week", {"streams": "p99"}),
    ("detector_threshold", {"severity": "critical"}),
    ("detector_checkpoints_total", {"outcome": "failed"}),
    ("detector_streams", {}),
    ("detector_checkpoint_age_seconds", {}),
]


@pytest.mark.parametrize(("name", "labels"), AT_ZERO)
def test_a_metric_is_zero_before_anything_happens(
    name: str, labels: dict[str, str]
) -> None:
    assert Metrics(["pager"]).registry.get_sample_value(name, labels) == 0


def test_the_lag_is_not_a_number_while_nothing_is_read() -> None:
    lag = Metrics().registry.get_sample_value("detector_lag_records")
    assert lag is not None
    assert math.isnan(lag)


def test_no_label_names_a_stream_a_partition_or_a_host() -> None:
    labels = {label for metric in declared_metrics() for label in metric.labels}
    assert labels == {
        "cause",
        "command",
        "event",
        "outcome",
        "place",
        "phase",
        "prefix",  # at most ten
        "reason",
        "result",
        "receiver",
        "severity",
        "status",
        "streams",
    }


def test_two_daemons_in_one_process_count_apart() -> None:
    one = Metrics()
    two = Metrics()
    one.scored.inc(5)
    assert one.registry.get_sample_value("detector_scored_total") == 5
    assert two.registry.get_sample_value("detector_scored_total") == 0


def test_the_declarations_say_what_the_daemon_exposes() -> None:
    exposed = {
        family.name: (family.type, family.documentation)
        for family in Metrics().registry.collect()
    }
    assert exposed == {
        metric.name: (metric.kind.__name__.lower(), metric.help)
        for metric in declared_metrics()
    }
    assert all(help_text.endswith(".") for _, help_text in exposed.values())


def test_the_values_of_a_label_are_declared_and_receivers_are_those_configured() -> (
    None
):
    declared = Metrics.posts
    assert declared.labels["receiver"] is RECEIVERS
    assert declared.exposed_name == "detector_posts_total"
    assert declared.kind is Counter
    shown = Metrics(["a", "b"]).posts.collect()
    receivers = {s.labels["receiver"] for family in shown for s in family.samples}
    assert receivers == {"a", "b"}
