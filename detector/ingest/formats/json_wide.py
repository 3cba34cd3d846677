"""Flat JSON records of known features.

Theory of operation. msgspec generates a struct from the bundle's features and decodes a
record in C: 0.2 µs with one feature. The structs become columns in a few passes in C.
Only a record that breaks the contract costs Python time, to find its own fault.

The struct forbids fields that it does not know. A new field is reported once and then
becomes a field of the struct: ignoring it costs nothing, and it is still counted. After
:data:`MAX_UNKNOWN` such fields, or one whose name no struct can have, further ones are
ignored uncounted. So a topic can't grow the struct without bound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from detector.errors import BadRecord, RejectReason
from detector.events import F64, I64
from detector.ingest.format import MAX_UNKNOWN, UnknownFields
from detector.ingest.formats.json_fields import (
    STREAM,
    TIMESTAMP,
    UNDECODABLE,
    check,
    split,
)
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.rows import FeatureValues, Rows

_NAMEABLE = re.compile(r'[^\\"\x00-\x1f]+')  # what msgspec takes as a field's name


class JsonWide:
    """Implements Format. Rows of the features, a missing one where it is not given."""

    def __init__(self, features: Sequence[str], unknown: UnknownFields) -> None:
        self._features = tuple(features)
        self._known = {TIMESTAMP, STREAM, *features}
        self._unknown = unknown
        self._learnt: list[str] = []
        self._strict = True
        self._build()

    def rows(self, messages: Messages) -> Rows[FeatureValues]:
        decode = self._decode
        structs, records, faults = self._structs(messages)
        if decode is not self._decode:  # it learnt a field: all as structs of one type
            structs, records, faults = self._structs(messages)
        return Rows(
            records=records,
            names=list(map(attrgetter("stream"), structs)),
            stamps=list(map(attrgetter("timestamp"), structs)),
            numbers=FeatureValues(self._features, self._values(structs)),
            ignored=self._ignored(structs),
            faults=faults,
        )

    def _structs(
        self, messages: Messages
    ) -> tuple[list[Any], I64, list[tuple[int, BadRecord]]]:
        """The structs, the record of each, and the records that are none."""
        try:
            structs = list(map(self._decode, messages.values))  # type: ignore[arg-type]  # tried
        except (*UNDECODABLE, TypeError):  # also a message that is no bytes
            return self._structs_one_by_one(messages)
        return structs, np.arange(len(structs)), []

    def _structs_one_by_one(
        self, messages: Messages
    ) -> tuple[list[Any], I64, list[tuple[int, BadRecord]]]:
        structs = []
        records = []
        faults = []
        for i, value in enumerate(messages.values):
            try:
                structs.append(self._struct(as_bytes(value), messages, i))
                records.append(i)
            except BadRecord as fault:
                faults.append((i, fault))
        return structs, np.array(records, np.int64), faults

    def _struct(self, value: bytes, messages: Messages, message: int) -> Any:
        """One record. Raises BadRecord with its own fault."""
        while True:
            try:
                return self._decode(value)
            except UNDECODABLE as error:
                self._learn_or_raise(value, error, messages, message)

    def _learn_or_raise(
        self, value: bytes, error: Exception, messages: Messages, message: int
    ) -> None:
        fields = split(value)
        check(fields, self._features)
        new = [name for name in fields if name not in self._known]
        if not new or not self._strict:  # the struct is stricter than `check`
            raise BadRecord(RejectReason.TYPE, str(error)) from None
        for name in new:
            self._unknown.see(name, messages, message)
            self._learn(name)
        self._build()

    def _learn(self, name: str) -> None:
        if _NAMEABLE.fullmatch(name) and len(self._learnt) < MAX_UNKNOWN:
            self._learnt.append(name)
            self._known.add(name)
        else:
            self._strict = False

    def _values(self, structs: list[Any]) -> F64:
        """float64 [n, F]; None becomes NaN."""
        width = len(self._features)
        cells = map(self._cells, structs)
        flat = cells if width == 1 else chain.from_iterable(cells)
        values = np.fromiter(flat, np.float64, len(structs) * width)
        return values.reshape(len(structs), width)

    def _ignored(self, structs: list[Any]) -> I64 | None:
        if not self._learnt:
            return None
        counts = np.zeros(len(structs), np.int64)
        for k in range(len(self._learnt)):
            given = map(bool, map(attrgetter(f"u{k}"), structs))
            counts += np.fromiter(given, np.bool_, len(structs))
        return counts

    def _build(self) -> None:
        """Make the struct.

        Its attributes have names of ours, since a feature may be called anything; the
        encoded names are the record's.
        """
        features = {f"f{j}": name for j, name in enumerate(self._features)}
        learnt = {f"u{k}": name for k, name in enumerate(self._learnt)}
        fields: list[Any] = [
            (TIMESTAMP, float | str | None, None),
            (STREAM, str | None, None),
            *((attribute, float | None, None) for attribute in features),
            *((attribute, msgspec.Raw, msgspec.Raw(b"")) for attribute in learnt),
        ]
        struct = msgspec.defstruct(
            "Record",
            fields,
            rename=features | learnt,
            gc=False,
            forbid_unknown_fields=self._strict,
        )
        self._decode = msgspec.json.Decoder(struct).decode
        self._cells = attrgetter(*features)
