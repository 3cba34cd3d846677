"""A record is a JSON array, and each of its elements is a message."""

from __future__ import annotations

import msgspec

from detector.errors import BadRecord, RejectReason
from detector.events import RawBatch
from detector.ingest.messages import Messages, Value

_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Array:
    """Implements Framing."""

    def messages(self, raw: RawBatch) -> Messages:
        values: list[Value] = []
        records: list[int] = []
        empty: list[int] = []
        faults: list[tuple[int, BadRecord]] = []
        for i, value in enumerate(raw.values):
            try:
                elements = elements_of(value or b"")
            except BadRecord as fault:
                faults.append((i, fault))
                continue
            if not elements:
                empty.append(i)
            values.extend(elements)
            records.extend([i] * len(elements))
        return Messages(raw, values, records, faults, empty)


def elements_of(value: bytes) -> list[bytes]:
    """The elements of a JSON array, each as it is written. Raises BadRecord."""
    try:
        return list(map(bytes, _elements(value)))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        detail = f"it is not one JSON array ({error})"
        raise BadRecord(RejectReason.MALFORMED, detail) from None
