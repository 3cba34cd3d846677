"""JSON records of known features.

Theory of operation. msgspec generates a struct from the bundle's features and decodes a
flat record in C: 0.2 µs with one feature. The structs become columns in a few passes in
C. A record that is not flat, or not only numbers, goes to the format that reads all
numbers, and the features are picked from them.

The struct forbids fields that it does not know. A new field is reported once and then
becomes a field of the struct: ignoring it costs nothing, and it is still counted. After
:data:`MAX_UNKNOWN` such fields, further ones take the slow path. So a topic can't grow
the struct without bound. No field is learnt that may say what a record is, such as a
clock or the sign of a producer's format: a record with one is always read whole. So
what was learnt changes the speed alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from detector.events import F64, I64
from detector.ingest.format import MAX_UNKNOWN, Format, UnknownFields
from detector.ingest.json_objects.field_names import STREAM, TIMESTAMP, clock_rank
from detector.ingest.json_objects.json_text import UNDECODABLE
from detector.ingest.merge_rows import merged
from detector.ingest.messages import Messages
from detector.ingest.rows import FeatureValues, Rows

_NAMEABLE = re.compile(r'[^\\"\x00-\x1f]+')  # what msgspec takes as a field's name
_timestamp = attrgetter(TIMESTAMP)
_stream = attrgetter(STREAM)
_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class JsonWide:
    """Implements Format. Rows of the features, a missing one where it is not given."""

    def __init__(
        self,
        features: Sequence[str],
        others: Format[FeatureValues],
        unknown: UnknownFields,
        telling: Collection[str] = (),
    ) -> None:
        """``others``: reads the records that are not flat.

        ``telling``: names of fields that may say that a record is not flat.
        """
        self._features = tuple(features)
        self._known = {TIMESTAMP, STREAM, *features}
        self._others = others
        self._unknown = unknown
        self._telling = frozenset(telling)
        self._learnt: list[str] = []
        self._build()

    def rows(self, messages: Messages) -> Rows[FeatureValues]:
        decode = self._decode
        structs = self._structs(messages)
        if decode is not self._decode:  # it learnt a field: all as structs of one type
            structs = self._structs(messages)
        stamps = list(map(_timestamp, structs))
        names = list(map(_stream, structs))
        are_named = None not in names or all(messages.raw.keys)
        if None not in stamps and are_named:
            return self._rows(structs, np.arange(len(structs)), names, stamps)
        return self._apart(structs, messages)

    def _rows(
        self,
        structs: list[Any],
        records: I64,
        names: Sequence[str | None],
        stamps: Sequence[float | str | None],
    ) -> Rows[FeatureValues]:
        return Rows(
            records=records,
            names=names,
            stamps=stamps,
            numbers=FeatureValues(self._features, self._values(structs)),
            ignored=self._ignored(structs),
        )

    def _apart(self, structs: list[Any], messages: Messages) -> Rows[FeatureValues]:
        """The rows of flat records, with a time and a stream, and of the others."""
        count = len(structs)
        flat = [
            i
            for i, struct in enumerate(structs)
            if _timestamp(struct) is not None
            and (_stream(struct) is not None or messages.key(i))
        ]
        kept = [structs[i] for i in flat]
        found = self._rows(
            kept,
            np.array(flat, np.int64),
            list(map(_stream, kept)),
            list(map(_timestamp, kept)),
        )
        others = sorted(set(range(count)).difference(flat))
        values = [messages.values[i] for i in others]
        records = [messages.record(i) for i in others]
        part = self._others.rows(Messages(messages.raw, values, records))
        return merged([(found, range(count)), (part, others)])

    def _structs(self, messages: Messages) -> list[Any]:
        """The struct of each message; an empty one if it is not plainly flat."""
        try:
            return list(map(self._decode, messages.values))  # type: ignore[arg-type]  # tried
        except (*UNDECODABLE, TypeError):  # also a message that is no bytes
            empty = self._decode(b"{}")
            count = len(messages.values)
            return [self._struct(messages, i) or empty for i in range(count)]

    def _struct(self, messages: Messages, message: int) -> Any:
        """A flat record; None if it is not plainly one."""
        value = messages.values[message]
        if not isinstance(value, bytes):
            return None
        try:
            return self._decode(value)
        except UNDECODABLE:
            if not self._learn(value, messages, message):
                return None
        try:
            return self._decode(value)
        except UNDECODABLE:
            return None

    def _learn(self, value: bytes, messages: Messages, message: int) -> bool:
        """Whether it learnt all new fields of a record."""
        try:
            names = _fields(value)
        except UNDECODABLE:
            return False
        new = [name for name in names if name not in self._known]
        if not new or len(self._learnt) + len(new) > MAX_UNKNOWN:
            return False
        if not all(map(self._tells_nothing, new)) or not self._is_flat(value):
            return False
        for name in new:
            self._unknown.see(name, messages, message)
        self._learnt.extend(new)
        self._known.update(new)
        self._build()
        return True

    def _is_flat(self, value: bytes) -> bool:
        """Whether the features of a record are numbers, whatever else it has."""
        try:
            self._decode_some(value)
        except UNDECODABLE:
            return False
        return True

    def _tells_nothing(self, name: str) -> bool:
        """Whether a field of this name never says that a record is not flat."""
        if name in self._telling or clock_rank(name) is not None:
            return False
        prefix = f"{name}."
        if any(feature.startswith(prefix) for feature in self._features):
            return False
        return _NAMEABLE.fullmatch(name) is not None

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
        known: list[Any] = [
            (TIMESTAMP, float | str | None, None),
            (STREAM, str | None, None),
            *((attribute, float | None, None) for attribute in features),
        ]
        ignored = [(attribute, msgspec.Raw, msgspec.Raw(b"")) for attribute in learnt]
        struct = msgspec.defstruct(
            "Record",
            [*known, *ignored],
            rename=features | learnt,
            gc=False,
            forbid_unknown_fields=True,
        )
        some = msgspec.defstruct("Some", known, rename=features, gc=False)
        self._decode = msgspec.json.Decoder(struct).decode
        self._decode_some = msgspec.json.Decoder(some).decode
        self._cells = attrgetter(*features)
