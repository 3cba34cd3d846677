"""From a poll's bytes to columns: wide JSON records by a msgspec struct generated from
the bundle's features.

Theory of operation. A poll is decoded record by record in C (0.2 us with one feature)
and turned into columns in three C-level passes; only a record that breaks the contract
costs Python, to name its own fault. The struct knows the contract's fields and forbids
others; a field it does not know is reported once, then becomes one of its fields, so
that ignoring it costs nothing and it is still counted. After :data:`MAX_UNKNOWN` such
fields, or one whose name no struct can have, the rest is ignored uncounted: a topic may
not grow the struct without bound.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from detector.errors import BadRecord, RejectReason
from detector.events import F64, Partition, RawBatch, RecordBatch, RejectedRecord
from detector.timestamps import EARLIEST, LATEST, seconds, unit_hint

MAX_UNKNOWN = 64
F32_MOST = float(np.finfo(np.float32).max)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_NAMEABLE = re.compile(r'[^\\"\x00-\x1f]+')  # what msgspec takes as a field's name
_AT = re.compile(r" - at `\$\.?(.*)`$")


class Decoder:
    """Decodes wide JSON records of a bundle's features. Not thread-safe: it learns the
    topic's unknown fields.
    """

    def __init__(
        self,
        features: Sequence[str],
        max_bytes: int = 1 << 20,
        on_unknown: Callable[
            [str, Partition, int], None
        ] = lambda field, partition, offset: None,
    ) -> None:
        self._features = tuple(features)
        self._max_bytes = max_bytes
        self._on_unknown = on_unknown
        self._unknown: list[str] = []
        self._strict = True
        self._build()

    def decode(self, raw: RawBatch) -> RecordBatch:
        """Every record is either a row of the columns or one of their ``rejected``."""
        learnt = self._decode
        rows, kept, rejected = self._rows(raw)
        # it learnt a field on the way: the whole poll again, as one struct
        if learnt is not self._decode:
            rows, kept, rejected = self._rows(raw)
        times, bad_times = self._times(rows, raw, kept)
        values = self._values(rows)
        infinite = np.isinf(values).any(axis=1)
        vacant = np.isnan(values).all(axis=1)
        streams = self._streams(rows)
        names = (
            [
                raw.keys[i] if name is None else name
                for i, name in zip(kept, streams, strict=True)
            ]
            if None in streams
            else streams
        )
        faults = self._faults(rows, names, bad_times, infinite, vacant)
        offsets = (
            np.array([raw.offsets[i] for i in kept], np.int64)
            if rejected
            else np.array(raw.offsets, np.int64)
        )
        if faults:
            rejected += [self._reject(raw, kept[j], fault) for j, fault in faults]
            rejected.sort(key=lambda r: r.offset)
            good = np.ones(len(rows), np.bool_)
            good[[j for j, _ in faults]] = False
            names = list(itertools.compress(names, good))
            rows = list(itertools.compress(rows, good))
            offsets = offsets[good]
            times = times[good]
            values = values[good]
        unknown = self._count_unknown(rows)
        return RecordBatch(
            raw.partition,
            names,  # type: ignore[arg-type]  # those without a name were rejected above
            offsets,
            times,
            values,
            raw.offsets[-1] + 1,
            rejected,
            unknown,
        )

    # -- bytes to structs --------------------------------------------------------------

    def _rows(
        self, raw: RawBatch
    ) -> tuple[list[Any], Sequence[int], list[RejectedRecord]]:
        """The structs, the index of each in ``raw``, and what was none."""
        values = raw.values
        try:
            if max(map(len, values)) <= self._max_bytes:  # type: ignore[arg-type]
                return list(map(self._decode, values)), range(len(values)), []  # type: ignore[arg-type]
        except (TypeError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass
        rows = []
        kept = []
        rejected = []
        for i, value in enumerate(values):
            try:
                rows.append(self._row(value, raw.partition, raw.offsets[i]))
                kept.append(i)
            except BadRecord as error:
                rejected.append(self._reject(raw, i, error))
        return rows, kept, rejected

    def _row(self, value: bytes | None, partition: Partition, offset: int) -> Any:
        """One record, or BadRecord with its own fault."""
        if not value:
            raise BadRecord(RejectReason.EMPTY, "the record has no value")
        if len(value) > self._max_bytes:
            raise BadRecord(
                RejectReason.TOO_LARGE,
                f"{len(value)} bytes, more than {self._max_bytes}",
            )
        while True:
            try:
                return self._decode(value)
            except msgspec.ValidationError as error:
                unknown = _UNKNOWN.match(str(error))
                if unknown is None:
                    raise BadRecord(*_fault(str(error))) from None
                self._learn(unknown[1], partition, offset)
            except UnicodeDecodeError:
                raise BadRecord(RejectReason.ENCODING, "it is not UTF-8") from None
            except (msgspec.DecodeError, RecursionError) as error:
                raise BadRecord(*_malformed(value, str(error))) from None

    def _reject(self, raw: RawBatch, i: int, error: BadRecord) -> RejectedRecord:
        return RejectedRecord(
            raw.partition,
            raw.offsets[i],
            error.reason,
            error.detail,
            raw.keys[i],
            raw.values[i],
        )

    # -- structs to columns ------------------------------------------------------------

    def _times(
        self, rows: list[Any], raw: RawBatch, kept: Sequence[int]
    ) -> tuple[F64, dict[int, str]]:
        """float64 [n], and the rows whose timestamp can't be read."""
        stamps = list(map(self._stamp, rows))
        bad: dict[int, str] = {}
        try:
            # None, a timestamp that is absent, becomes NaN
            times = np.fromiter(stamps, np.float64, len(stamps))
            for j in np.flatnonzero(np.isnan(times)).tolist():
                # a text may say "nan"
                times[j] = (
                    raw.timestamps[kept[j]] / 1000.0 if stamps[j] is None else math.nan
                )
        except ValueError:  # text: the slow way for this poll
            times = np.empty(len(stamps))
            for j, stamp in enumerate(stamps):
                try:
                    times[j] = (
                        raw.timestamps[kept[j]] / 1000.0
                        if stamp is None
                        else seconds(stamp)
                    )
                except ValueError:
                    times[j] = 0.0
                    bad[j] = (
                        f"timestamp {stamp!r} is neither epoch seconds nor ISO 8601"
                    )
        outside = ~((times > EARLIEST) & (times < LATEST))
        for j in np.flatnonzero(outside).tolist():
            bad.setdefault(
                j,
                f"timestamp {times[j]:.17g} is outside 1970 to 2100 in epoch seconds{unit_hint(float(times[j]))}",
            )
        return times, bad

    def _values(self, rows: list[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
        width = len(self._features)
        cells = map(self._cells, rows)
        flat = cells if width == 1 else itertools.chain.from_iterable(cells)
        # None, a missing value, becomes NaN
        values = np.fromiter(flat, np.float64, len(rows) * width)
        with np.errstate(over="ignore"):
            return values.astype(np.float32).reshape(len(rows), width)

    def _faults(
        self,
        rows: list[Any],
        names: Sequence[str | bytes | None],
        bad_times: dict[int, str],
        infinite: np.ndarray[Any, np.dtype[np.bool_]],
        vacant: np.ndarray[Any, np.dtype[np.bool_]],
    ) -> list[tuple[int, BadRecord]]:
        """Rows that are structs but no samples, with the first fault of each."""
        found = {
            j: BadRecord(RejectReason.TIMESTAMP, detail)
            for j, detail in bad_times.items()
        }
        for j in np.flatnonzero(vacant).tolist():
            found.setdefault(j, BadRecord(RejectReason.NO_FEATURES, self._wanted()))
        for j in np.flatnonzero(infinite).tolist():
            field = next(
                f
                for f, x in self._named_cells(rows[j])
                if x is not None and abs(x) > F32_MOST
            )
            found.setdefault(
                j,
                BadRecord(
                    RejectReason.INFINITE,
                    f"`{field}` is outside the range of a 32-bit float",
                ),
            )
        if None in names or "" in names or b"" in names:
            for j, name in enumerate(names):
                if not name:
                    found.setdefault(
                        j,
                        BadRecord(
                            RejectReason.NO_STREAM,
                            "it has neither a `stream` field nor a key",
                        ),
                    )
        for j, name in enumerate(names):
            if type(name) is bytes and not _is_utf8(name):
                found.setdefault(
                    j,
                    BadRecord(
                        RejectReason.ENCODING,
                        "its key, which names the stream, is not UTF-8",
                    ),
                )
        return sorted(found.items())

    def _wanted(self) -> str:
        return f"none of {_listed(self._features)} is in it"

    def _named_cells(self, row: Any) -> Iterable[tuple[str, float | None]]:
        cells = self._cells(row)
        return zip(
            self._features, (cells,) if len(self._features) == 1 else cells, strict=True
        )

    # -- unknown fields ----------------------------------------------------------------

    def _learn(self, field: str, partition: Partition, offset: int) -> None:
        self._on_unknown(field, partition, offset)
        if _NAMEABLE.fullmatch(field):
            self._unknown.append(field)
        else:
            self._strict = False
        self._build()

    def _count_unknown(self, rows: list[Any]) -> int:
        return sum(
            sum(1 for raw in map(attrgetter(f"u{k}"), rows) if raw)
            for k in range(len(self._unknown))
        )

    def _build(self) -> None:
        """The struct: attribute names are ours (a feature may be called anything), the
        encoded names are the record's.
        """
        contract = [
            ("timestamp", float | str | None, None),
            ("stream", str | None, None),
        ]
        cells = [(f"f{j}", float | None, None) for j in range(len(self._features))]
        ignored = [
            (f"u{k}", msgspec.Raw, msgspec.Raw(b"")) for k in range(len(self._unknown))
        ]
        encoded = {f"f{j}": name for j, name in enumerate(self._features)} | {
            f"u{k}": name for k, name in enumerate(self._unknown)
        }
        strict = self._strict and len(self._unknown) < MAX_UNKNOWN
        fields: list[Any] = [*contract, *cells, *ignored]
        struct = msgspec.defstruct(
            "Record", fields, rename=encoded, gc=False, forbid_unknown_fields=strict
        )
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(struct).decode
        self._stamp: Callable[[Any], float | str | None] = attrgetter("timestamp")
        self._cells = attrgetter(*(f"f{j}" for j in range(len(self._features))))
        self._stream = attrgetter("stream")

    def _streams(self, rows: list[Any]) -> list[str | None]:
        return list(map(self._stream, rows))


def _fault(message: str) -> tuple[RejectReason, str]:
    """A validation error of msgspec as a reason and a sentence that names the field in
    the record's own words.
    """
    at = _AT.search(message)
    if at is None:
        return RejectReason.MALFORMED, f"it is not one JSON object ({message})"
    if "out of range" in message:
        return RejectReason.INFINITE, message
    return RejectReason.TYPE, message


def _malformed(value: bytes, message: str) -> tuple[RejectReason, str]:
    if not _is_utf8(value):
        return RejectReason.ENCODING, "it is not UTF-8"
    if "out of range" in message:
        return RejectReason.INFINITE, message
    return RejectReason.MALFORMED, f"it is not one JSON object ({message})"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{n}`" for n in names[:5]) + (
        f" and {len(names) - 5} more" if len(names) > 5 else ""
    )
