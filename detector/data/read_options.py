"""What a user says of DATA that the files do not say themselves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo


def _say_nothing(note: str) -> None:
    """Takes a note to nobody."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read.

    Attributes:
        time_column, stream_column: their names; None: the usual names are taken.
        time_format: how times are written, in the notation of ``strptime``; empty: as
            numbers, or in ISO 8601.
        zone: of times that name no offset.
        record_format: of files of records.
        report: is given what was guessed of the files, a line each.
    """

    time_column: str | None = None
    stream_column: str | None = None
    zone: tzinfo = UTC
    time_format: str = ""
    record_format: str = "auto"
    report: Callable[[str], None] = _say_nothing
