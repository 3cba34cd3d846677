"""Refused alerts are sent again: in order, once, and none that would stay open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from detector.dead_letters.alert_letters import (
    AlertFile,
    AlertLetter,
    Resent,
    from_line,
    resend,
    to_line,
)
from detector.dead_letters.file import FILE_NAME, DeadLetterFile
from detector.dead_letters.letter import NotALetter
from detector.errors import ConfigError, Permanent, Transient
from detector.events import Alert, FeatureDeviation
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from tests.unit.detector.notify.alerts import escalated, fired, resolved

WHOLE = replace(
    fired("a"),
    tags={"team": "core"},
    deviations=(FeatureDeviation("cpu", "%", 99.5, 12.25, 1.0),),
)


class Receivers:
    """Keeps what arrives; some are down, and some alerts are refused again."""

    def __init__(self, down: str = "", refused: str = "") -> None:
        self.down = down
        self.refused = refused
        self.got: list[tuple[str, Alert]] = []

    def __call__(self, letter: AlertLetter) -> None:
        if letter.receiver == self.down:
            raise Transient("refuses connections")
        if letter.alert.stream == self.refused:
            raise Permanent("refused with 400")
        self.got.append((letter.receiver, letter.alert))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def kept(folder: Path, *alerts: Alert, receiver: str = "hook") -> None:
    letters = DeadLetterFile(folder / FILE_NAME, 1 << 20, Labelling())
    for alert in alerts:
        letters.notification(alert, "refused with 400", receiver)
    letters.close()


def run(
    folder: Path,
    deliver: Callable[[AlertLetter], None] | None,
    *still_open: str,
) -> Resent:
    file = AlertFile(folder / FILE_NAME)
    return resend(
        file.letters(), file, lambda alert: alert.stream in still_open, deliver
    )


def test_a_letter_holds_the_whole_alert() -> None:
    letter = AlertLetter("hook", WHOLE)
    line = to_line(letter, "refused", alert_body(WHOLE, Labelling()))
    assert from_line(line) == letter
    with pytest.raises(NotALetter):
        from_line({"kind": "notification", "reason": "", "alert": {}})


def test_an_incident_is_told_from_its_beginning_to_its_end(folder: Path) -> None:
    grave = escalated(fired("a"))
    alerts = [fired("a"), grave, resolved(grave)]
    kept(folder, *alerts)
    receivers = Receivers()
    result = run(folder, receivers)
    assert [alert for _, alert in receivers.got] == alerts
    assert result.sent == {"hook": 3}


def test_a_second_run_sends_nothing_twice(folder: Path) -> None:
    kept(folder, fired("a"), resolved(fired("a")))
    kept(folder, resolved(fired("a")), receiver="chat")
    receivers = Receivers(down="chat")
    first = run(folder, receivers)
    assert first.waiting == {"chat": 1}
    receivers.down = ""
    second = run(folder, receivers)
    assert (second.sent, second.before) == ({"chat": 1}, 2)
    assert [name for name, _ in receivers.got] == ["hook", "hook", "chat"]


def test_what_fires_is_sent_while_it_is_open_and_not_after(folder: Path) -> None:
    """Its end was delivered: nobody would close it again."""
    kept(folder, fired("a"), fired("b"))
    receivers = Receivers()
    result = run(folder, receivers, "b")
    assert [alert.stream for _, alert in receivers.got] == ["b"]
    assert result.over == 1


def test_the_end_of_one_incident_is_not_that_of_the_next(folder: Path) -> None:
    kept(folder, fired("a"), resolved(fired("a")), fired("a", starts=9000.0))
    receivers = Receivers()
    assert run(folder, receivers).over == 1
    assert [alert.starts_at for _, alert in receivers.got] == [60.0, 60.0]


def test_a_beginning_never_follows_its_end(folder: Path) -> None:
    """The first run sends the end alone: the beginning was refused once more."""
    kept(folder, fired("a"), resolved(fired("a")))

    def deliver(letter: AlertLetter) -> None:
        if letter.alert.firing:
            raise Permanent("refused with 400")

    assert run(folder, deliver).failed == {"refused with 400": 1}
    assert run(folder, Receivers()).over == 1


def test_one_that_is_refused_again_keeps_no_other_back(folder: Path) -> None:
    kept(folder, fired("a"), fired("b"))
    receivers = Receivers(refused="a")
    result = run(folder, receivers, "a", "b")
    assert result.failed == {"refused with 400": 1}
    assert [alert.stream for _, alert in receivers.got] == ["b"]


def test_a_dry_run_sends_and_notes_nothing(folder: Path) -> None:
    kept(folder, fired("a"), resolved(fired("a")))
    assert run(folder, None).sent == {"hook": 2}
    assert run(folder, Receivers()).before == 0


def test_letters_of_an_earlier_version_are_counted(folder: Path) -> None:
    (folder / FILE_NAME).write_text('{"kind": "notification", "alert": {}}\n{broken\n')
    file = AlertFile(folder / FILE_NAME)
    assert list(file.letters()) == []
    assert file.unreadable == 1


def test_without_a_file_it_says_so(folder: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        AlertFile(folder / FILE_NAME)
