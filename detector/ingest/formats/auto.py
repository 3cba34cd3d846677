"""Any format that is known, recognised record by record by its content.

Theory of operation. Flat JSON takes the fast path of :mod:`json_records`; any other
JSON goes to the recogniser. Bytes that another format reads, lines or protobuf, are
kept aside until the batch is through, and go to that format together. The rows of all
are then put in the order of the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec

from detector.ingest.format import Format, UnknownFields
from detector.ingest.formats.json_records import JsonRecords
from detector.ingest.formats.presets.registry import PRESETS, may_fit
from detector.ingest.json_objects.paths import Fields
from detector.ingest.json_objects.recognise import Recogniser, foreign, text_format
from detector.ingest.merge_rows import Part, merged
from detector.ingest.messages import Messages, Value
from detector.ingest.row_builder import RowBuilder
from detector.ingest.rows import NamedValues, Rows

Given = Mapping[str, Any]
MakeFormat = Callable[[UnknownFields], Format[NamedValues]]
_encode: Final = msgspec.json.Encoder().encode


class AutoReader:
    """Implements Reader; keeps aside what others read."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        #: messages and their values, by the format that reads them
        self.aside: dict[str, list[tuple[int, Value]]] = {}

    def add(
        self, built: RowBuilder, messages: Messages, message: int, fields: Fields
    ) -> None:
        format_ = foreign(fields)
        if format_ is None:
            self._recogniser.add(built, messages, message, fields)
        else:
            self._keep(format_, message, _encode(fields))

    def takes_plain(self, built: RowBuilder, message: int, document: Any) -> bool:
        return self._recogniser.takes_plain(built, message, document)

    def takes_whole(self, messages: Messages, message: int, document: Any) -> bool:
        first = document
        if type(document) is list and document:
            first = document[0]
        value = messages.values[message]
        if type(first) is not dict or not isinstance(value, bytes):
            return False
        format_ = foreign(first)
        if format_ is None:
            return False
        self._keep(format_, message, value)
        return True

    def takes_undecodable(self, messages: Messages, message: int) -> bool:
        value = messages.values[message]
        if not isinstance(value, bytes):
            return False
        self._keep(text_format(value), message, value)
        return True

    def _keep(self, format_: str, message: int, value: Value) -> None:
        self.aside.setdefault(format_, []).append((message, value))


class Auto:
    """Implements Format."""

    def __init__(
        self,
        unknown: UnknownFields,
        others: Mapping[str, MakeFormat],
        given: Given,
        wanted: Collection[str] = (),
    ) -> None:
        """``others``: the formats that read bytes of their own.

        ``given``: parts of the mapping that the topic's settings say. ``wanted``:
        metrics that are known.
        """
        self._reader = AutoReader(Recogniser(unknown, PRESETS, given, wanted))
        self._json = JsonRecords(self._reader, is_flat_unless(given))
        self._others = {name: make(unknown) for name, make in others.items()}

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        found = self._json.rows(messages)
        aside = self._reader.aside
        if not aside:
            return found
        self._reader.aside = {}
        parts: list[Part[NamedValues]] = [(found, range(len(messages.values)))]
        parts.extend(self._read(name, kept, messages) for name, kept in aside.items())
        return merged(parts)

    def _read(
        self,
        name: str,
        kept: Sequence[tuple[int, Value]],
        messages: Messages,
    ) -> Part[NamedValues]:
        of = [message for message, _ in kept]
        values = [value for _, value in kept]
        records = [messages.record(message) for message in of]
        part = Messages(messages.raw, values, records)
        return self._others[name].rows(part), of


def is_flat_unless(given: Given) -> Callable[[Collection[str]], bool]:
    """Whether a record of numbers is flat, by its names.

    Settings that say what fields are make no record flat; how numbers are written in
    text does not concern one.
    """
    if given.keys() - {"decimal_comma", "booleans"}:
        return lambda names: False
    return lambda names: not may_fit(names)
