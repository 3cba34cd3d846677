"""The endpoints over a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import urllib3

from detector.consumer.loop import Vitals
from detector.errors import ConfigError
from detector.events import Alert, Partition, Reason, Severity
from detector.history.incident_log import IncidentLog
from detector.metrics import Metrics
from detector.settings.alerting import AlertingSettings
from detector.web.server import STALLED, WebServer
from tests.fakes import FakeClock, fake_bundle

FIRING = Alert(
    Partition("metrics", 0),
    "<script>alert(1)</script>",
    Severity.WARNING,
    Reason.FIRED,
    60.0,
    None,
    60.0,
    7.0,
    6.0,
)


@dataclass
class House:
    clock: FakeClock
    vitals: Vitals
    view: IncidentLog
    metrics: Metrics
    server: WebServer
    pool: urllib3.PoolManager

    def get(self, path: str) -> tuple[int, str, str]:
        host, port = self.server.address
        answer = self.pool.request(
            "GET", f"http://{host}:{port}{path}", timeout=10, retries=False
        )
        return answer.status, answer.data.decode(), answer.headers["content-type"]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    bundle = fake_bundle(tmp_path)
    metrics = Metrics()
    clock = FakeClock()
    vitals = Vitals(clock.monotonic())
    view = IncidentLog(bundle, AlertingSettings())
    server = WebServer(
        ("127.0.0.1", 0),
        metrics,
        vitals,
        view,
        clock,
        lambda: metrics.checkpoint_age.set(4.0),
    )
    server.start()
    with urllib3.PoolManager() as pool:
        yield House(clock, vitals, view, metrics, server, pool)
    server.stop()


def test_metrics_are_prometheus_text_and_gauges_are_fresh(house: House) -> None:
    house.metrics.scored.inc(3)
    status, text, kind = house.get("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "detector_scored_total 3.0\n" in text
    assert 'detector_rejected_total{reason="late"} 0.0\n' in text
    assert "detector_checkpoint_age_seconds 4.0\n" in text


def test_it_is_ready_once_partitions_are_restored_and_not_while_it_stops(
    house: House,
) -> None:
    assert house.get("/-/ready")[0] == 503
    assert "detector_ready 0.0\n" in house.get("/metrics")[1]
    house.vitals.ready = True
    assert house.get("/-/ready")[:2] == (200, "ready\n")
    assert "detector_ready 1.0\n" in house.get("/metrics")[1]
    house.vitals.stopping = True
    assert house.get("/-/ready")[0] == 503
    assert "detector_ready 0.0\n" in house.get("/metrics")[1]


def test_it_is_healthy_while_the_loop_moves(house: House) -> None:
    assert house.get("/-/healthy")[:2] == (200, "healthy\n")
    house.clock.now += STALLED + 1
    assert house.get("/-/healthy")[:2] == (503, "the loop has not moved for 31 s\n")
    house.vitals.last_turn = house.clock.monotonic()
    assert house.get("/-/healthy")[0] == 200


def test_a_fault_that_is_retried_is_degraded_and_not_dead(house: House) -> None:
    house.vitals.store_fault = "no space left"
    house.vitals.source_fault = "no broker"
    assert house.get("/-/healthy")[:2] == (
        200,
        "degraded: no space left\ndegraded: no broker\n",
    )


def test_the_page_escapes_what_comes_from_a_record(house: House) -> None:
    house.view.alerted(FIRING)
    _, html, kind = house.get("/")
    assert kind.startswith("text/html")
    assert "&lt;script&gt;alert(1)" in html
    assert "<script" not in html
    assert "Firing now (1)" in html


def test_an_incident_moves_from_firing_to_resolved(house: House) -> None:
    house.view.alerted(FIRING)
    house.view.alerted(
        replace(FIRING, severity=Severity.CRITICAL, reason=Reason.ESCALATED)
    )
    alerts = json.loads(house.get("/api/v1/alerts")[1])
    assert [a["labels"]["severity"] for a in alerts["firing"]] == ["critical"]
    house.view.alerted(replace(FIRING, reason=Reason.RECOVERED, ends_at=120.0))
    alerts = json.loads(house.get("/api/v1/alerts")[1])
    assert alerts["firing"] == []
    assert [a["endsAt"] for a in alerts["resolved"]] == ["1970-01-01T00:02:00.000Z"]


def test_the_status_tells_bundle_and_levels(house: House) -> None:
    status = json.loads(house.get("/api/v1/status")[1])
    assert status["bundle"]["name"] == "fake"
    assert status["tick_interval"] == 60
    assert "the fleet&#x27;s level, at a point every 60 s" in house.get("/")[1]
    assert status["thresholds"] == pytest.approx(
        {"warning": 3.0, "critical": 5.0, "clear": 2.7}
    )


@pytest.mark.parametrize("path", ["/none", "/-/", "/api/v1/../../etc/passwd"])
def test_there_is_nothing_else(house: House, path: str) -> None:
    assert house.get(path)[0] == 404


def test_an_address_that_is_taken_is_the_operators_to_mend(house: House) -> None:
    with pytest.raises(ConfigError, match="DETECTOR_WEB__LISTEN"):
        WebServer(
            house.server.address,
            house.metrics,
            house.vitals,
            house.view,
            house.clock,
            lambda: None,
        )
