"""JSON that one mapping, or the presets of one producer, say how to read."""

from __future__ import annotations

from typing import Any

from detector.errors import BadRecord, RejectReason
from detector.ingest.json_objects.mapper import Mapper
from detector.ingest.json_objects.paths import Fields
from detector.ingest.json_objects.recognise import Recogniser, foreign, text_format
from detector.ingest.messages import Messages
from detector.ingest.row_builder import RowBuilder


class MappedReader:
    """Reads all objects by one mapping, or by a recogniser. Implements Reader."""

    def __init__(self, reader: Mapper | Recogniser, name: str) -> None:
        """``name``: of the format, as the topic's settings say it."""
        self._reader = reader
        self._name = name

    def add(
        self, built: RowBuilder, messages: Messages, message: int, fields: Fields
    ) -> None:
        self._reader.add(built, messages, message, fields)

    def takes_plain(self, built: RowBuilder, message: int, document: Any) -> bool:
        return self._reader.takes_plain(built, message, document)

    def takes_whole(self, messages: Messages, message: int, document: Any) -> bool:
        first = document[0] if type(document) is list and document else document
        other = foreign(first) if type(first) is dict else None
        if other is not None:
            detail = f"it is {other} and not {self._name}: set the topic's format"
            raise BadRecord(RejectReason.MALFORMED, detail)
        return False

    def takes_undecodable(self, messages: Messages, message: int) -> bool:
        value = messages.values[message]
        if not isinstance(value, bytes):
            return False
        other = text_format(value)
        detail = f"it is not JSON; it looks like {other}: set the topic's format to it"
        raise BadRecord(RejectReason.MALFORMED, detail)
