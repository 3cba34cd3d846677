"""What every format checks: each reason to reject a record, in one place.

What only one format can find (its syntax, its types) is found there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence, Set
from dataclasses import dataclass, field

import numpy as np

from detector.errors import BadRecord, RejectReason
from detector.events import F64, MissingCounts, RawBatch, RejectedRecord
from detector.ingest.cells import is_utf8
from detector.ingest.clocks import Faults, read_times
from detector.ingest.keying import Names, stream_names
from detector.ingest.rows import Flags, Numbers, Rows
from detector.names import LONGEST_METRIC, LONGEST_NAME, encoded, is_plain
from detector.record_clock import ClockBounds, RecordClock

Once = Set[str | bytes | None]  # each name of the rows


@dataclass(frozen=True, slots=True)
class Checked:
    """The streams and times of n rows.

    Attributes:
        names: of the rows; those of rows that are not good mean nothing.
        times: float64 [n], event time in epoch seconds.
        clock: what time it was when they came.
        good: bool [n], rows without a fault; None: all of them.
        rejected: the records that have a fault.
        missing: values of the other records that can't be used.
        without_points: how many of the other records have no good row.
    """

    names: Names
    times: F64
    clock: RecordClock
    good: Flags | None
    rejected: Sequence[RejectedRecord]
    missing: MissingCounts = field(default_factory=dict)
    without_points: int = 0


@dataclass(frozen=True, slots=True)
class Admitted:
    """The records that a format may read, and the others.

    Attributes:
        raw: records with a value of a size that is allowed.
        tombstones: how many have no value at all, which is no fault: a compacted topic
            deletes a key that way.
    """

    raw: RawBatch
    rejected: Sequence[RejectedRecord]
    tombstones: int = 0


def admit(raw: RawBatch, max_bytes: int) -> Admitted:
    """The records that a format may read: with a value of at most ``max_bytes``."""
    values = raw.values
    present = [value for value in values if value]
    longest = max(map(len, present), default=0)
    if len(present) == len(values) and longest <= max_bytes:
        return Admitted(raw, [])
    kept = []
    rejected = []
    for i, value in enumerate(values):
        if value is None:
            continue
        fault = _fault_of_size(value, max_bytes)
        if fault is None:
            kept.append(i)
        else:
            rejected.append(_reject(raw, i, fault))
    return Admitted(raw.take(kept), rejected, values.count(None))


def check(
    raw: RawBatch, rows: Rows[Numbers], wanted: str, bounds: ClockBounds
) -> Checked:
    """Find the rows that can be scored, and reject each record that has a fault.

    A fault of one row rejects its record with all its rows. A record without a number
    is a fault, unless it says so itself or values of it are missing; ``wanted`` says
    then what it lacks.
    """
    faults: Faults = {}
    read = read_times(raw, rows, bounds, faults)
    empty = rows.numbers.empty()
    names = stream_names(raw, rows)
    once = set(names)  # a poll has many rows of each stream
    _find_nameless(names, once, faults)
    _find_long(names, once, rows.numbers, faults)
    names = _printable(names, once)
    _name_liars(names, faults)
    good = ~empty if empty.any() else None
    of_records = dict(reversed(rows.faults))  # the first of each record
    for row in sorted(faults):
        record = int(rows.records[row])
        of_records.setdefault(record, faults[row])
    without_points = _without_points(raw, rows, empty)
    may_be_empty = {record for record, _, _ in rows.missing}.union(rows.without_points)
    for record in without_points - may_be_empty:
        fault = BadRecord(RejectReason.NO_FEATURES, wanted)
        of_records.setdefault(record, fault)
    rejected = [_reject(raw, i, of_records[i]) for i in sorted(of_records)]
    if rejected:
        is_bad = np.isin(rows.records, list(of_records))
        good = ~(is_bad | empty)
    return Checked(
        names=names,
        times=read.times,
        clock=read.clock,
        good=good,
        rejected=rejected,
        missing=_missing(rows, of_records),
        without_points=len(without_points - of_records.keys()),
    )


def _without_points(raw: RawBatch, rows: Rows[Numbers], empty: Flags) -> set[int]:
    """The records that have no row with a number."""
    is_without = np.ones(len(raw), np.bool_)
    is_without[rows.records[~empty]] = False
    return set(np.flatnonzero(is_without).tolist())


def _missing(rows: Rows[Numbers], rejected: Container[int]) -> MissingCounts:
    return Counter(
        (metric, reason)
        for record, metric, reason in rows.missing
        if record not in rejected
    )


def _fault_of_size(value: bytes, max_bytes: int) -> BadRecord | None:
    if not value:
        return BadRecord(RejectReason.EMPTY, "the value has no bytes")
    if len(value) > max_bytes:
        detail = f"{len(value)} bytes, more than {max_bytes}"
        return BadRecord(RejectReason.TOO_LARGE, detail)
    return None


def _reject(raw: RawBatch, i: int, fault: BadRecord) -> RejectedRecord:
    return raw.rejected(i, fault.reason, fault.detail)


def _find_long(names: Names, once: Once, numbers: Numbers, faults: Faults) -> None:
    longest = max((len(name) for name in once if name), default=0)
    if longest > LONGEST_NAME:
        for row, name in enumerate(names):
            if name and len(name) > LONGEST_NAME:
                detail = f"its stream's name has more than {LONGEST_NAME} characters"
                faults.setdefault(row, BadRecord(RejectReason.LONG_NAME, detail))
    has_long_metric = numbers.with_longer_names(LONGEST_METRIC)
    for row in np.flatnonzero(has_long_metric).tolist():
        detail = f"a metric's name has more than {LONGEST_METRIC} characters"
        faults.setdefault(row, BadRecord(RejectReason.LONG_NAME, detail))


def _printable(names: Names, once: Once) -> Names:
    """The names as they are stored, see :mod:`detector.names`."""
    texts = "".join(name for name in once if type(name) is str)
    keys = b"".join(name for name in once if type(name) is bytes)
    if is_plain(texts) and is_plain(keys.decode(errors="replace")):
        return names
    return [_stored(name) for name in names]


def _stored(name: str | bytes | None) -> str | bytes | None:
    """A key that is plain, or not UTF-8, stays as it is."""
    if isinstance(name, str):
        return encoded(name)
    if name is None or not is_utf8(name):
        return name
    text = name.decode()
    stored = encoded(text)
    return name if stored == text else stored


def _name_liars(names: Names, faults: Faults) -> None:
    """Name the streams whose times are ahead: each has a clock to be set."""
    for row, fault in faults.items():
        if fault.reason is RejectReason.FUTURE:
            name = names[row]
            stream = name.decode() if isinstance(name, bytes) else name
            detail = f"{fault.detail}: check the clock or the zone of `{stream}`"
            faults[row] = BadRecord(RejectReason.FUTURE, detail)


def _find_nameless(names: Names, once: Once, faults: Faults) -> None:
    if not all(once):
        fault = BadRecord(
            RejectReason.NO_STREAM, "it has neither a `stream` field nor a key"
        )
        for row, name in enumerate(names):
            if not name:
                faults.setdefault(row, fault)
    if not _are_utf8(once):
        fault = BadRecord(
            RejectReason.ENCODING, "its key, which names the stream, is not UTF-8"
        )
        for row, name in enumerate(names):
            if isinstance(name, bytes) and not is_utf8(name):
                faults.setdefault(row, fault)


def _are_utf8(names: Once) -> bool:
    """Whether all names that are keys are UTF-8; a zero byte keeps them apart."""
    keys = (name for name in names if type(name) is bytes)
    return is_utf8(b"\0".join(keys))
