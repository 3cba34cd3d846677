"""Logs: state changes only, key=value for people or JSON for machines, to standard
error.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog
from kafka.errors import KafkaConnectionError, KafkaTimeoutError

#: Warns at every start that a topic's metadata is not there yet, and of each refused
#: connection that is retried anyway.
_CHATTY = ("kafka.coordinator", "kafka.net", "kafka.cluster")


_TRANSIENT = (KafkaConnectionError, KafkaTimeoutError)
_QUIET_FOR = 60.0  # seconds in which a library's message of one kind is shown once


class RateLimitFilter(logging.Filter):
    """Libraries repeat themselves (kafka-python ten times a second while a topic does
    not exist): each kind once a minute.

    A kind is a logger and a message before its arguments are filled in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._shown: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg)[:80])
        if record.created < self._shown.get(kind, float("-inf")) + _QUIET_FOR:
            return False
        if len(self._shown) > 1000:
            self._shown.clear()
        self._shown[kind] = record.created
        return True


def _retried(record: logging.LogRecord) -> bool:
    """A connection that is refused or lost is tried again, and the daemon says itself
    what it waits for: to the client an error, here a warning.

    A broker that refuses who we are stays an error.
    """
    if (
        record.levelno == logging.ERROR
        and isinstance(record.args, tuple)
        and any(isinstance(a, _TRANSIENT) for a in record.args)
    ):
        record.levelno = logging.WARNING
        record.levelname = "WARNING"
    return True


class LossyStream:
    """A stream whose disk may be full or whose reader gone: a line of log is lost then,
    never a point.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


def configure(form: str, level: str, stream: TextIO = sys.stderr) -> None:
    """``form`` is ``text`` or ``json``. Libraries' own records are shown from WARNING
    up, through the same renderer.
    """
    unfailing = cast("TextIO", LossyStream(stream))
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"],
            drop_missing=True,
            bool_as_flag=False,
        )
    )
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(unfailing),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(unfailing)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    handler.addFilter(RateLimitFilter())
    handler.addFilter(_retried)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.ERROR)
