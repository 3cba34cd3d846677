"""Logs to standard error: key=value for people, or JSON for machines.

The daemon logs changes of state only. Libraries log through the same renderer, from
WARNING up.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sys
from collections.abc import Sequence
from typing import TextIO, cast

import structlog
from kafka.errors import KafkaConnectionError, KafkaTimeoutError

from detector.phrases import escaped

#: Loggers that warn of what is normal: of a new topic without metadata yet, and of
#: each refused connection, which the client retries. Only their errors are shown.
_NOISY = ("kafka.coordinator", "kafka.net", "kafka.cluster")
_RETRIED_ERRORS = (KafkaConnectionError, KafkaTimeoutError)
_QUIET_SECONDS = 60.0  # in which a library's message of one kind is shown once
_MAX_KINDS = 1000  # of messages that are remembered
_KIND_LENGTH = 80  # characters of a message that tell its kind

_Processors = Sequence[structlog.typing.Processor]


class RateLimitFilter(logging.Filter):
    """Shows each kind of message of a library once a minute.

    kafka-python logs ten times a second while a topic does not exist. A kind is a
    logger and a message before its arguments are filled in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last_shown: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        kind = (record.name, str(record.msg)[:_KIND_LENGTH])
        last = self._last_shown.get(kind, -math.inf)
        if record.created < last + _QUIET_SECONDS:
            return False
        if len(self._last_shown) > _MAX_KINDS:
            self._last_shown.clear()
        self._last_shown[kind] = record.created
        return True


def _warn_of_retries(record: logging.LogRecord) -> bool:
    """Turns an error about a connection into a warning, since the client retries it.

    The daemon itself logs what it waits for. A broker that refuses a login stays an
    error.
    """
    arguments = record.args if isinstance(record.args, tuple) else ()
    retried = any(isinstance(argument, _RETRIED_ERRORS) for argument in arguments)
    if record.levelno == logging.ERROR and retried:
        record.levelno = logging.WARNING
        record.levelname = logging.getLevelName(logging.WARNING)
    return True


class LossyStream:
    """A stream that drops what it can't write.

    If a disk is full or a reader is gone, a line of the log is lost and not a point.
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
    """Send the logs of the daemon and of libraries to a stream.

    Args:
        form: ``text`` or ``json``.
        level: of the daemon's own lines: debug, info, warning or error.
        stream: where lines go; a line that can't be written is dropped.
    """
    output = cast("TextIO", LossyStream(stream))
    shared: _Processors = (
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    renderer = _renderer(form)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(output),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_library_handler(output, shared, renderer)]
    root.setLevel(logging.WARNING)
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.ERROR)


def _renderer(form: str) -> structlog.typing.Processor:
    if form == "json":
        return structlog.processors.JSONRenderer()
    rendered = structlog.processors.LogfmtRenderer(
        key_order=["timestamp", "level", "event"],
        drop_missing=True,
        bool_as_flag=False,
    )

    def escaped_line(
        logger: structlog.typing.WrappedLogger,
        method: str,
        event: structlog.typing.EventDict,
    ) -> str:
        return escaped(rendered(logger, method, event))

    return escaped_line


def _library_handler(
    output: TextIO, shared: _Processors, renderer: structlog.typing.Processor
) -> logging.Handler:
    """Renders the records of libraries like the daemon's own lines."""
    handler = logging.StreamHandler(output)
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
    handler.addFilter(_warn_of_retries)
    return handler
