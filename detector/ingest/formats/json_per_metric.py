"""Flat JSON records of any numeric fields.

Theory of operation. A record is decoded into a dict in C. Its fields beside
``timestamp`` and ``stream`` are its numbers. Nulls are skipped; strings, booleans and
nested values are ignored and counted. A record that holds only numbers, as most do, is
taken apart in C however many it has.
"""

from __future__ import annotations

from typing import Any

import msgspec

from detector.errors import BadRecord, RejectReason
from detector.ingest.format import UnknownFields
from detector.ingest.formats.json_fields import (
    STREAM,
    TIMESTAMP,
    UNDECODABLE,
    check_all,
    wrong_type,
)
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.row_builder import RowBuilder
from detector.ingest.rows import NamedValues, Rows

_TIME = frozenset((float, int, str, type(None)))
_NUMBER = frozenset((float, int))
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class JsonPerMetric:
    """Implements Format. One row for each record, with all its numbers."""

    def __init__(self, unknown: UnknownFields) -> None:
        self._unknown = unknown

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        built = RowBuilder()
        for i, value in enumerate(messages.values):
            try:
                fields = _decode(value) if isinstance(value, bytes) else dict(value)
                self._add(built, messages, i, fields)
            except BadRecord as fault:
                built.reject(i, fault)
            except UNDECODABLE as error:
                built.reject(i, _fault(as_bytes(value), error))
        return built.rows()

    def _add(
        self,
        built: RowBuilder,
        messages: Messages,
        message: int,
        fields: dict[str, Any],
    ) -> None:
        """Raises BadRecord before anything is added."""
        stamp = fields.pop(TIMESTAMP, None)
        stream = fields.pop(STREAM, None)
        if type(stamp) not in _TIME:
            raise wrong_type(TIMESTAMP, stamp, "a number or text")
        if stream is not None and type(stream) is not str:
            raise wrong_type(STREAM, stream, "text")
        ignored = 0
        if not _NUMBER.issuperset(map(type, fields.values())) or "" in fields:
            ignored = self._leave_out(messages, message, fields)
        built.add(message, stream, stamp, fields, ignored)

    def _leave_out(
        self, messages: Messages, message: int, fields: dict[str, Any]
    ) -> int:
        """Remove what is not a number with a name; how many fields are ignored."""
        ignored = 0
        for name, value in list(fields.items()):
            if type(value) in _NUMBER and name:
                continue
            del fields[name]
            if value is not None:
                ignored += 1
                self._unknown.see(name, messages, message)
        return ignored


def _fault(value: bytes, error: Exception) -> BadRecord:
    """Why a record can't be read."""
    try:
        check_all(value)
    except BadRecord as fault:
        return fault
    return BadRecord(RejectReason.MALFORMED, str(error))
