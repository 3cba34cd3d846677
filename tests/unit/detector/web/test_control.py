"""The paths that change a daemon: who may, and what they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from detector.alerting.policy import AlertTuning
from detector.consumer.health import Health
from detector.errors import ConfigError
from detector.history.incident_log import IncidentLog
from detector.metrics import ControlCommand, Metrics
from detector.notify.labels import Labelling
from detector.pipeline.build import alert_composer
from detector.web.control import Asked, Compared, ControlEndpoints, Done
from detector.web.endpoints import Endpoints
from detector.web.facts import ControlState, Status
from detector.web.server import COMMANDS, WebServer
from tests.fakes import FakeClock, fake_bundle

TOKEN = "a token of 16 or more"
PATHS = [name.removeprefix("POST ") for name in COMMANDS if name.startswith("POST ")]


@dataclass
class ScriptedControl:
    """Keeps what it was asked, and answers as scripted. Implements Control."""

    answer: Done | Exception = field(default_factory=lambda: Done("done"))
    asked: list[tuple[ControlCommand, Asked]] = field(default_factory=list)

    def submit(self, command: ControlCommand, asked: Asked) -> Future[Done]:
        self.asked.append((command, asked))
        future: Future[Done] = Future()
        if isinstance(self.answer, Exception):
            future.set_exception(self.answer)
        else:
            future.set_result(self.answer)
        return future

    def state(self) -> ControlState:
        return ControlState()

    def compared(self) -> Compared | None:
        return None


@dataclass
class Web:
    """A server on a free port."""

    control: ScriptedControl
    server: WebServer

    def post(
        self, path: str, token: str | None = TOKEN, body: str = ""
    ) -> tuple[int, dict[str, Any]]:
        return self.request("POST", path, token, body)

    def request(
        self, method: str, path: str, token: str | None = None, body: str = ""
    ) -> tuple[int, dict[str, Any]]:
        host, port = self.server.address
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with urllib3.PoolManager() as pool:
            answer = pool.request(
                method,
                f"http://{host}:{port}{path}",
                body=body,
                headers=headers,
                timeout=10,
                retries=False,
            )
            return answer.status, json.loads(answer.data)


def no_status() -> Status:
    raise AssertionError("nobody asks for it")


def serve(path: Path, token: str | None) -> Web:
    bundle = fake_bundle(path)
    clock = FakeClock()
    endpoints = Endpoints(
        Metrics(),
        Health(clock.monotonic()),
        IncidentLog(Labelling(), alert_composer(bundle, AlertTuning())),
        clock,
        lambda: None,
        no_status,
    )
    control = ScriptedControl()
    commands = ControlEndpoints(control, token)
    server = WebServer(("127.0.0.1", 0), endpoints, commands)
    server.start()
    return Web(control, server)


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    made = serve(tmp_path, TOKEN)
    yield made
    made.server.stop()


@pytest.mark.parametrize("path", PATHS)
def test_a_command_is_carried_out_for_whoever_has_the_token(
    web: Web, path: str
) -> None:
    assert web.post(path)[0] == 200
    (command, asked), *others = web.control.asked
    assert path.endswith(command.value)
    assert asked == Asked()
    assert not others


@pytest.mark.parametrize("token", [None, "", TOKEN[:-1], TOKEN + "x", "ä" * 16])
def test_another_token_changes_nothing(web: Web, token: str | None) -> None:
    text = None if token is None else token.encode().decode("latin-1")
    status, answer = web.post("/api/v1/reload", text)
    assert status == 401
    assert TOKEN not in str(answer)
    assert not web.control.asked


def test_without_the_setting_the_api_only_reads(tmp_path: Path) -> None:
    web = serve(tmp_path, None)
    status, answer = web.post("/api/v1/reload", "anything that is long enough")
    web.server.stop()
    assert (status, answer["error"]) == (
        403,
        "the API only reads: set DETECTOR_WEB__TOKEN",
    )
    assert not web.control.asked


def test_a_command_is_no_page_to_be_visited(web: Web) -> None:
    host, port = web.server.address
    with urllib3.PoolManager() as pool:
        answer = pool.request("GET", f"http://{host}:{port}/api/v1/reload")
    assert answer.status == 405
    assert not web.control.asked


def test_the_body_says_what_is_asked_for(web: Web) -> None:
    web.post("/api/v1/shadow", body='{"bundle": "/b"}')
    web.post("/api/v1/promote", body='{"anyway": true}')
    assert [asked for _, asked in web.control.asked] == [
        Asked(bundle="/b"),
        Asked(anyway=True),
    ]


@pytest.mark.parametrize("body", ["{", '{"bundel": "/b"}', '"' + "x" * 70_000 + '"'])
def test_a_body_that_says_something_else_is_refused(web: Web, body: str) -> None:
    assert web.post("/api/v1/shadow", body=body)[0] == 400
    assert not web.control.asked


def test_what_is_refused_says_why(web: Web) -> None:
    web.control.answer = ConfigError("no bundle at /b: train one")
    assert web.post("/api/v1/reload") == (409, {"error": "no bundle at /b: train one"})


def test_there_is_nothing_to_compare_without_a_shadow(web: Web) -> None:
    status, answer = web.request("GET", "/api/v1/compare")
    assert status == 404
    assert "streamwarden shadow BUNDLE" in answer["error"]
