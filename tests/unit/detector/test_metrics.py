"""Every label set is there from the start, under the names that outside commands read."""

from __future__ import annotations

import pytest

from detector.errors import RejectReason
from detector.events import Reason
from detector.metrics import Metrics

WANTED = [
    ("detector_records_total", {}),
    ("detector_scored_total", {}),
    *[("detector_rejected_total", {"reason": r.value}) for r in RejectReason],
    *[
        ("detector_alerts_total", {"status": s, "severity": v})
        for s in ("firing", "escalated", "resolved")
        for v in ("warning", "critical")
    ],
    *[
        ("detector_notifications_total", {"outcome": o})
        for o in ("delivered", "retried", "dead_lettered")
    ],
    *[("detector_decisions_total", {"reason": r.label}) for r in Reason],
    ("detector_streams", {}),
    ("detector_checkpoint_age_seconds", {}),
]


@pytest.mark.parametrize(("name", "labels"), WANTED)
def test_a_metric_is_zero_before_anything_happened(
    name: str, labels: dict[str, str]
) -> None:
    assert Metrics().registry.get_sample_value(name, labels) == 0


def test_no_metric_has_a_label_for_each_stream_partition_or_host() -> None:
    labels = {
        label
        for family in Metrics().registry.collect()
        for sample in family.samples
        for label in sample.labels
    }
    assert labels <= {
        "reason",
        "cause",
        "status",
        "severity",
        "outcome",
        "streams",
        "le",
    }


def test_two_daemons_in_one_process_count_apart() -> None:
    one = Metrics()
    two = Metrics()
    one.scored.inc(5)
    assert two.registry.get_sample_value("detector_scored_total") == 0


def test_every_metric_says_what_it_is() -> None:
    assert all(
        family.documentation.endswith(".") for family in Metrics().registry.collect()
    )
