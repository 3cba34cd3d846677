"""/metrics as Prometheus reads it: the contract's names, every label set there from the
start.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from detector.errors import RejectReason
from tests.integration.conftest import Start
from tests.integration.stage import WebhookReceiver, eventually

COUNTERS = (
    "detector_records",
    "detector_scored",
    "detector_rejected",
    "detector_alerts",
    "detector_notifications",
)
GAUGES = ("detector_streams", "detector_lag_records", "detector_checkpoint_age_seconds")


@pytest.fixture
def page(topic: str, start: Start, receiver: WebhookReceiver) -> str:
    """Of a daemon that has read nothing yet."""
    daemon = start()
    eventually(lambda: daemon.get("/-/ready")[0] == 200, "ready")
    status, text = daemon.get("/metrics")
    assert status == 200
    return text


def test_the_page_has_the_names_of_the_contract_and_parses(page: str) -> None:
    families = {f.name: f for f in text_string_to_metric_families(page)}
    assert {families[name].type for name in COUNTERS} == {"counter"}
    assert {families[name].type for name in GAUGES} == {"gauge"}
    assert all(family.documentation for family in families.values())
    assert all(name.startswith("detector_") for name in families)
    assert {
        s.labels["reason"]
        for s in families["detector_rejected"].samples
        if s.name.endswith("_total")
    } == set(RejectReason)
    alerts = {
        (s.labels["status"], s.labels["severity"])
        for s in families["detector_alerts"].samples
    }
    assert alerts >= {
        (status, severity)
        for status in ("firing", "resolved")
        for severity in ("warning", "critical")
    }
    assert {
        s.labels["outcome"] for s in families["detector_notifications"].samples
    } >= {"delivered", "retried", "dead_lettered"}
    assert all(
        s.value == 0
        for name in COUNTERS
        for s in families[name].samples
        if s.name.endswith("_total")
    )
    assert not any(
        "stream" in s.labels for family in families.values() for s in family.samples
    )


def test_prometheus_own_linter_finds_nothing(page: str, promtool: Path) -> None:
    done = subprocess.run(
        [promtool, "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
