"""``redrive --alerts``: what is sent again depends on what the daemon lists as open."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from pytest_httpserver import HTTPServer

from detector.cli.main import main
from detector.dead_letters.file import FILE_NAME, DeadLetterFile
from detector.events import Severity
from detector.history.incident_log import Incidents
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from tests.unit.detector.notify.alerts import fired, resolved


@pytest.fixture
def letters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DeadLetterFile]:
    monkeypatch.setenv("DETECTOR_RECOVERY__DEAD_LETTERS", str(tmp_path))
    made = DeadLetterFile(tmp_path / FILE_NAME, 1 << 20, Labelling())
    yield made
    made.close()


@pytest.fixture
def receiver(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    """The receiver ``streamwarden``, on the port on which the daemon answers too."""
    httpserver.expect_request("/hook").respond_with_data()
    monkeypatch.setenv("DETECTOR_ALERTING__WEBHOOK_URL", httpserver.url_for("/hook"))
    place = f"{httpserver.host}:{httpserver.port}"
    monkeypatch.setenv("DETECTOR_WEB__LISTEN", place)
    return httpserver


def posted(receiver: HTTPServer) -> list[tuple[str, str]]:
    bodies = [
        json.loads(request.data)
        for request, _ in receiver.log
        if request.path == "/hook"
    ]
    alerts = [body["alerts"][0] for body in bodies]
    return [(alert["labels"]["stream"], alert["status"]) for alert in alerts]


def test_what_the_daemon_lists_as_open_is_sent(
    letters: DeadLetterFile, receiver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = Incidents([alert_body(fired("open"), Labelling())], [])
    answer = msgspec.json.encode(listed).decode()
    receiver.expect_request("/api/v1/alerts").respond_with_data(answer)
    for alert in (fired("open"), fired("over"), fired("a"), resolved(fired("a"))):
        letters.notification(alert, "refused", "streamwarden")
    assert main(["redrive", "--alerts", "--dry-run"]) == 0
    assert posted(receiver) == []
    assert main(["redrive", "--alerts"]) == 0
    sent = [("open", "firing"), ("a", "firing"), ("a", "resolved")]
    assert posted(receiver) == sent
    said = capsys.readouterr().out
    assert "3 would be sent: 3 to streamwarden" in said
    assert "1 begin an incident that no running daemon lists as open" in said
    assert main(["redrive", "--alerts", "--force"]) == 0
    assert posted(receiver) == [*sent, ("over", "firing")]


def test_the_summary_of_a_backlog_is_kept_for_a_person_and_not_sent_again(
    letters: DeadLetterFile,
    receiver: HTTPServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = [resolved(fired(name)) for name in ("a", "b", "c")]
    parts = [replace(alert, repeats_since=alert.starts_at) for alert in ended]
    letters.summary(parts, "refused", "streamwarden")
    (line,) = (tmp_path / FILE_NAME).read_text().splitlines()
    kept = json.loads(line)
    assert (kept["kind"], kept["receiver"]) == ("summary", "streamwarden")
    assert kept["alert"]["annotations"]["streams"] == "3"
    assert main(["redrive", "--alerts"]) == 0
    assert posted(receiver) == []
    assert "1 sum up a backlog" in capsys.readouterr().out


def test_a_warning_is_not_sent_after_its_incident_turned_critical(
    letters: DeadLetterFile, receiver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = replace(fired("a"), severity=Severity.CRITICAL)
    listed = Incidents([alert_body(worse, Labelling())], [])
    answer = msgspec.json.encode(listed).decode()
    receiver.expect_request("/api/v1/alerts").respond_with_data(answer)
    letters.notification(fired("a"), "refused", "streamwarden")
    assert main(["redrive", "--alerts"]) == 0
    assert posted(receiver) == []
    assert "or that is graver by now" in capsys.readouterr().out


def test_a_receiver_that_is_gone_is_named(
    letters: DeadLetterFile, receiver: HTTPServer, capsys: pytest.CaptureFixture[str]
) -> None:
    letters.notification(resolved(fired("a")), "refused", "pager")
    assert main(["redrive", "--alerts"]) == 2
    assert posted(receiver) == []
    assert "there is no receiver pager any more" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--reason=type", "--reason is about records"),
        ("--from=kafka:letters", "alerts are in the file"),
    ],
)
def test_what_is_about_records_is_refused(
    option: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["redrive", "--alerts", option]) == 2
    assert sentence in capsys.readouterr().err
