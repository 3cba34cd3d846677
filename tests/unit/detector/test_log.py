"""A library's message is shown once a minute for each kind; our own are all shown."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
import structlog
from kafka.errors import (
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
)

from detector import log


@pytest.fixture
def shown() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers[:]
    level = root.level
    stream = io.StringIO()
    log.configure("text", "info", stream)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def log_as_library(
    minutes: float, template: str = "Topic %s not found", *arguments: object
) -> None:
    record = logging.LogRecord(
        "some.library", logging.ERROR, "", 0, template, arguments or ("metrics",), None
    )
    record.created = 1_700_000_000 + minutes * 60
    logging.getLogger().handle(record)


def test_a_message_of_a_library_is_shown_once_a_minute(shown: io.StringIO) -> None:
    for tenth in range(15):
        log_as_library(tenth / 10)
    assert shown.getvalue().count("Topic metrics not found") == 2


def test_a_message_of_another_kind_is_shown_at_once(
    shown: io.StringIO,
) -> None:
    log_as_library(0)
    log_as_library(0, "Connection lost: %s", "refused")
    assert shown.getvalue().count("event=") == 2


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (KafkaConnectionError("111 ECONNREFUSED"), "warning"),
        (KafkaTimeoutError("no broker"), "warning"),
        (SaslAuthenticationFailedError(), "error"),
    ],
)
def test_only_a_refused_login_stays_an_error_since_connections_are_retried(
    shown: io.StringIO, error: KafkaError, level: str
) -> None:
    log_as_library(0, "%s: Connection lost: %s", "<connection>", error)
    assert f"level={level} " in shown.getvalue()
    assert "Connection lost" in shown.getvalue()


def test_the_daemons_own_lines_are_all_shown(shown: io.StringIO) -> None:
    for _ in range(3):
        structlog.get_logger("daemon").info("same")
    assert shown.getvalue().count("event=same") == 3


def test_a_line_that_cannot_be_written_is_dropped() -> None:
    class FullDisk(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    stream = log.LossyStream(FullDisk())
    assert stream.write("lost") == 0
    stream.flush()


HOSTILE = "a\x1b[2J\x07\x00\x85\u202e\u2028 b\nc"
ESCAPED = r"a\x1b[2J\x07\x00\x85\u202e\u2028 b\nc"


def test_a_line_for_people_has_no_character_that_a_terminal_obeys(
    shown: io.StringIO,
) -> None:
    structlog.get_logger("daemon").info("alert", stream=HOSTILE)
    log_as_library(0, "%s", HOSTILE)
    own, library = shown.getvalue().splitlines()
    for line in (own, library):
        assert line.isprintable()
        assert ESCAPED in line


def test_a_line_for_people_keeps_letters_of_every_alphabet(shown: io.StringIO) -> None:
    structlog.get_logger("daemon").info("alert", stream="Zürich/温度")
    assert "stream=Zürich/温度" in shown.getvalue()
