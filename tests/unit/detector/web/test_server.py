"""The endpoints over a real socket."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import urllib3

from detector.alerting.incident_rates import FleetRates
from detector.alerting.policy import AlertTuning, FleetThresholds
from detector.consumer.health import Health
from detector.errors import ConfigError
from detector.events import Reason, Severity
from detector.history.incident_log import IncidentLog
from detector.metrics import Metrics
from detector.notify.labels import Labelling
from detector.pipeline.build import alert_composer
from detector.state.census import PrefixCount
from detector.web.endpoints import STALLED, Endpoints
from detector.web.facts import (
    BundleName,
    ControlState,
    FleetNow,
    LastCommand,
    ShadowFacts,
    facts_of,
    status_of,
)
from detector.web.pages import SHOWN
from detector.web.server import ROUTES, WebServer
from tests.fakes import FakeClock, fake_bundle
from tests.unit.detector.notify.alerts import fired

HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
FIRING = fired(HOSTILE)
LABELLING = Labelling(
    fixed={"site": "<b>north</b>"},
    stream=re.compile(r"(?P<host>host-\d+)/.*"),
)


@dataclass
class Web:
    """A server on a free port, and what it reads."""

    clock: FakeClock
    health: Health
    incidents: IncidentLog
    metrics: Metrics
    changed: list[Any]
    endpoints: Endpoints
    server: WebServer
    pool: urllib3.PoolManager

    def get(self, path: str) -> tuple[int, str, str]:
        host, port = self.server.address
        url = f"http://{host}:{port}{path}"
        answer = self.pool.request("GET", url, timeout=10, retries=False)
        return answer.status, answer.data.decode(), answer.headers["content-type"]

    def alerts(self) -> dict[str, Any]:
        found: dict[str, Any]
        found = json.loads(self.get("/api/v1/alerts")[1])
        return found


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    metrics = Metrics()
    clock = FakeClock()
    health = Health(clock.monotonic())
    bundle = fake_bundle(tmp_path)
    incidents = IncidentLog(LABELLING, alert_composer(bundle, AlertTuning()))
    thresholds = FleetThresholds(warning=3.0, critical=5.0, clear=2.7)
    fleet = FleetNow(FleetRates(240, 240.0, 84.0), (PrefixCount("web", 1200),))
    facts = facts_of(bundle, 1.0, thresholds)
    changed: list[Any] = []
    endpoints = Endpoints(
        metrics,
        health,
        incidents,
        clock,
        lambda: metrics.checkpoint_age.set(4.0),
        lambda: status_of(facts, fleet, ControlState(*changed)),
    )
    server = WebServer(("127.0.0.1", 0), endpoints)
    server.start()
    with urllib3.PoolManager() as pool:
        yield Web(clock, health, incidents, metrics, changed, endpoints, server, pool)
    server.stop()


def test_metrics_are_prometheus_text_and_gauges_are_fresh(web: Web) -> None:
    web.metrics.scored.inc(3)
    status, text, kind = web.get("/metrics")
    assert (status, kind.split(";")[0]) == (200, "text/plain")
    assert "detector_scored_total 3.0\n" in text
    assert 'detector_rejected_total{reason="late"} 0.0\n' in text
    assert "detector_checkpoint_age_seconds 4.0\n" in text


def test_it_is_ready_from_restored_partitions_to_the_stop(web: Web) -> None:
    def answers() -> tuple[int, str]:
        lines = web.get("/metrics")[1].splitlines()
        (gauge,) = [line for line in lines if line.startswith("detector_ready ")]
        return web.get("/-/ready")[0], gauge

    assert answers() == (503, "detector_ready 0.0")
    web.health.ready = True
    assert answers() == (200, "detector_ready 1.0")
    web.health.stopping = True
    assert answers() == (503, "detector_ready 0.0")


def test_it_is_healthy_while_the_loop_moves(web: Web) -> None:
    assert web.get("/-/healthy")[:2] == (200, "healthy\n")
    web.clock.now += STALLED + 1
    assert web.get("/-/healthy")[:2] == (503, "the loop has not moved for 31 s\n")
    web.health.last_turn = web.clock.monotonic()
    assert web.get("/-/healthy")[0] == 200


def test_a_fault_that_is_retried_is_degraded_and_not_dead(web: Web) -> None:
    web.health.store_fault = "no space left"
    web.health.source_fault = "no broker"
    status, text, _ = web.get("/-/healthy")
    assert status == 200
    assert text == "degraded: no space left\ndegraded: no broker\n"


def test_the_page_escapes_names_and_labels(web: Web) -> None:
    web.incidents.alerted(FIRING)
    web.incidents.alerted(replace(FIRING, stream=f"other {HOSTILE}"))
    web.incidents.alerted(
        replace(FIRING, stream=HOSTILE, reason=Reason.RECOVERED, ends_at=120.0)
    )
    _, html, kind = web.get("/")
    assert kind.startswith("text/html")
    assert "&lt;script&gt;alert(1)" in html
    assert "site=&lt;b&gt;north&lt;/b&gt;" in html
    assert "Firing now (1)" in html
    for tag in ("<script", "<img", "<b>"):
        assert tag not in html


def test_the_page_says_that_it_is_not_ready_and_why(web: Web) -> None:
    def shown(words: str) -> bool:
        page = web.get("/")[1]
        assert ("Not ready: " in page) is ("Nothing is firing." not in page)
        return words in page and words in web.get("/-/ready")[1]

    assert shown("no partition is assigned")
    web.health.restoring = 2
    assert shown("the states of 2 partitions are being restored")
    web.health.restore_fault = "no space left"
    assert shown("are being restored; no space left")
    web.health.restoring = 0
    web.health.ready = True
    assert "Nothing is firing." in web.get("/")[1]
    web.health.stopping = True
    assert shown("the daemon is stopping")


def test_the_page_shows_characters_that_are_not_printable_escaped(web: Web) -> None:
    name = "a\x1b\x07\x00\x85\u202e\u2028b"
    web.incidents.alerted(replace(FIRING, stream=name))
    assert r"<td>a\x1b\x07\x00\x85\u202e\u2028b" in web.get("/")[1]
    (incident,) = web.alerts()["firing"]
    assert incident["labels"]["stream"] == name


def test_the_page_runs_no_script_even_if_one_slips_in(web: Web) -> None:
    host, port = web.server.address
    answer = web.pool.request("GET", f"http://{host}:{port}/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert 'href="/static/style.css"' in answer.data.decode()
    assert web.get("/static/style.css")[2].startswith("text/css")


def test_the_page_and_the_api_show_configured_labels(web: Web) -> None:
    web.incidents.alerted(replace(FIRING, stream="host-1/cpu"))
    (incident,) = web.alerts()["firing"]
    assert incident["labels"]["host"] == "host-1"
    assert incident["labels"]["site"] == "<b>north</b>"
    assert "host=host-1 site=" in web.get("/")[1]


def test_the_page_says_which_states_began_anew(web: Web) -> None:
    assert "began anew" not in web.get("/")[1]
    web.metrics.state_resets.labels("no_checkpoint").inc(3)
    web.metrics.state_resets.labels("taken_over").inc(1200)
    found = web.get("/")[1]
    assert "began anew since the start: taken_over 1,200, no_checkpoint 3." in found


def test_the_page_limits_its_incidents_and_counts_the_rest(web: Web) -> None:
    for number in range(SHOWN + 3):
        web.incidents.alerted(replace(FIRING, stream=f"host-{number}"))
    html = web.get("/")[1]
    assert f"Firing now ({SHOWN + 3})" in html
    assert html.count('<td class="warning">') == SHOWN
    assert "and 3 more" in html


def test_the_page_shows_no_lag_if_nothing_is_assigned(web: Web) -> None:
    web.metrics.lag.set(float("nan"))
    assert "<dt>records behind</dt><dd>–</dd>" in web.get("/")[1]


def test_an_incident_moves_from_firing_to_resolved(web: Web) -> None:
    critical = replace(FIRING, severity=Severity.CRITICAL, reason=Reason.ESCALATED)
    web.incidents.alerted(FIRING)
    web.incidents.alerted(critical)
    (incident,) = web.alerts()["firing"]
    assert incident["labels"]["severity"] == "critical"
    web.incidents.alerted(replace(critical, reason=Reason.RECOVERED, ends_at=120.0))
    alerts = web.alerts()
    assert (alerts["firing"], alerts["not_listed"]) == ([], 0)
    (incident,) = alerts["resolved"]
    assert incident["endsAt"] == "1970-01-01T00:02:00.000Z"


def test_the_status_shows_bundle_budget_and_thresholds(web: Web) -> None:
    status = json.loads(web.get("/api/v1/status")[1])
    assert status["bundle"]["name"] == "fake"
    assert status["features"] == [
        {"name": "cpu", "unit": "", "counter": False},
        {"name": "mem", "unit": "", "counter": False},
    ]
    assert status["false_alarms_per_week"] == 1.0
    assert status["tick_interval"] == 60
    assert status["thresholds"] == {"warning": 3.0, "critical": 5.0, "clear": 2.7}
    assert "fleet threshold, at a point every 60 s" in web.get("/")[1]


def test_the_page_and_the_status_say_what_the_budget_allows_the_fleet(web: Web) -> None:
    sentence = (
        "240 streams: at most about 34 false alarms a day at this budget;"
        " so far: about 12 incidents a day, true and false"
    )
    html = web.get("/")[1]
    assert f"<p>{sentence}</p>" in html
    assert "<dt>streams by prefix</dt><dd>web 1,200</dd>" in html
    assert json.loads(web.get("/api/v1/status")[1])["fleet"] == {
        "streams": 240,
        "false_alarms_per_week": 240.0,
        "incidents_per_week": 84.0,
        "in_words": sentence,
        "prefixes": [{"prefix": "web", "streams": 1200}],
    }


def test_the_page_says_what_was_refused_and_what_runs_in_shadow(web: Web) -> None:
    shadow = ShadowFacts(BundleName("<b>newer</b>", "2", "abc"), 0.0)
    last = LastCommand("reload", "refused", "no bundle at /b: train one", 60.0)
    web.changed += [last, shadow, "", ("DETECTOR_MODEL__BUNDLE",)]
    html = web.get("/")[1]
    assert "`reload` was refused: no bundle at /b: train one" in html
    assert "In shadow since 1970-01-01T00:00:00" in html
    assert ": &lt;b&gt;newer&lt;/b&gt; 2." in html
    assert "A restart would run with other values of DETECTOR_MODEL__BUNDLE." in html
    control = json.loads(web.get("/api/v1/status")[1])["control"]
    assert control["last"]["result"] == "refused"
    assert control["shadow"]["bundle"]["digest"] == "abc"


@pytest.mark.parametrize("path", ["/none", "/-/", "/api/v1/../../etc/passwd"])
def test_an_unknown_path_is_not_found(web: Web, path: str) -> None:
    assert web.get(path)[0] == 404


def test_every_route_answers_and_says_what(web: Web) -> None:
    web.health.ready = True
    for path, answers in ROUTES.items():
        assert web.get(path)[0] == 200
        assert answers.endswith(".")


def test_an_address_in_use_is_a_configuration_error(web: Web) -> None:
    with pytest.raises(ConfigError, match="DETECTOR_WEB__LISTEN"):
        WebServer(web.server.address, web.endpoints)
