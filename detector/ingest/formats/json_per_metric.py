"""From a poll's bytes to columns where each metric is a stream of its own: any flat
JSON record, its fields not known beforehand.

Theory of operation. A record is decoded into a dict in C; its fields beside
``timestamp`` and ``stream`` are taken apart in Python. A number is a point of the
stream ``<stream>/<field>``; a null is no point; anything else, a text, a flag, a list,
an object, is a field that is not known: ignored, counted, and named the first time. A
record of m numbers becomes m rows with its offset and its time. A fault of one field
rejects the record with all its metrics, by the same reasons as where features are
known.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from detector.events import Partition, RawBatch, RecordBatch
from detector.ingest.formats.json_wide import F32_MOST, MAX_UNKNOWN, Decoder

_STAMPS = frozenset((float, int, str, type(None)))


@dataclass(frozen=True, slots=True)
class _Record:
    """One record: ``values`` of the ``metrics``, and the names of fields that are none."""

    timestamp: float | str | None
    stream: str | None
    metrics: list[str]
    values: list[float]
    strange: Sequence[str]


class EachMetricDecoder(Decoder):
    """Decodes wide JSON records of any numeric fields. Not thread-safe: it remembers
    which unknown fields it named.
    """

    def __init__(
        self,
        max_bytes: int = 1 << 20,
        on_unknown: Callable[
            [str, Partition, int], None
        ] = lambda field, partition, offset: None,
    ) -> None:
        self._named: set[str] = set()
        super().__init__((), max_bytes, on_unknown)

    def decode(self, raw: RawBatch) -> RecordBatch:
        """Every record is either rows of the columns, one for each of its metrics, or
        one of their ``rejected``.
        """
        rows, kept, rejected = self._rows(raw)
        times, bad_times = self._times(rows, raw, kept)
        counts = np.array([len(row.values) for row in rows], np.int64)
        flat = np.fromiter(
            itertools.chain.from_iterable(row.values for row in rows),
            np.float64,
            int(counts.sum()),
        )
        with np.errstate(over="ignore"):
            values = flat.astype(np.float32)
        infinite = np.zeros(len(rows), np.bool_)
        infinite[np.repeat(np.arange(len(rows)), counts)[np.isinf(values)]] = True
        names = [
            raw.keys[i] if row.stream is None else row.stream
            for i, row in zip(kept, rows, strict=True)
        ]
        good = np.ones(len(rows), np.bool_)
        for j, fault in self._faults(rows, names, bad_times, infinite, counts == 0):
            rejected.append(self._reject(raw, kept[j], fault))
            good[j] = False
        rejected.sort(key=lambda r: r.offset)
        of_good = np.repeat(good, counts)
        whole = list(itertools.compress(zip(kept, rows, names, strict=True), good))
        offsets = np.repeat(
            np.array([raw.offsets[i] for i, _, _ in whole], np.int64), counts[good]
        )
        streams = [
            f"{prefix}/{metric}"
            for prefix, row in ((_text(name), row) for _, row, name in whole)
            for metric in row.metrics
        ]
        unknown = self._count_strange(raw, whole)
        times = np.repeat(times[good], counts[good])
        return RecordBatch(
            raw.partition,
            streams,
            offsets,
            times,
            values[of_good][:, None],
            raw.offsets[-1] + 1,
            rejected,
            unknown,
        )

    def _build(self) -> None:
        fields = msgspec.json.Decoder(dict[str, Any]).decode
        self._decode = lambda value: _record(fields(value))
        self._stamp = attrgetter("timestamp")

    def _wanted(self) -> str:
        return "it has no field that is a number"

    def _named_cells(self, row: _Record) -> Iterable[tuple[str, float | None]]:
        return zip(row.metrics, row.values, strict=True)

    def _count_strange(
        self, raw: RawBatch, whole: Sequence[tuple[int, _Record, object]]
    ) -> int:
        count = 0
        for i, row, _ in whole:
            for field in row.strange:
                count += 1
                if field not in self._named and len(self._named) < MAX_UNKNOWN:
                    self._named.add(field)
                    self._on_unknown(field, raw.partition, raw.offsets[i])
        return count


def _record(fields: dict[str, Any]) -> _Record:
    """Raises msgspec.ValidationError where a field of the contract has another type, in
    the words of the struct that knows its features.
    """
    stamp = fields.pop("timestamp", None)
    stream = fields.pop("stream", None)
    if type(stamp) not in _STAMPS:
        raise msgspec.ValidationError(
            f"Expected `float | str | null`, got `{_kind(stamp)}` - at `$.timestamp`"
        )
    if stream is not None and type(stream) is not str:
        raise msgspec.ValidationError(
            f"Expected `str | null`, got `{_kind(stream)}` - at `$.stream`"
        )
    if type(stamp) is int:
        stamp = _finite(stamp)
    metrics = []
    values = []
    strange = []
    for name, value in fields.items():
        if type(value) is float and name:
            metrics.append(name)
            values.append(value)
        elif type(value) is int and name:
            metrics.append(name)
            values.append(_finite(value))
        elif value is not None:
            strange.append(name)
    return _Record(stamp, stream, metrics, values, strange)


def _finite(number: int) -> float:
    """As a float; infinite where there is none."""
    return float(number) if abs(number) <= F32_MOST else float("inf")


def _kind(value: object) -> str:
    """What JSON calls it."""
    return {bool: "bool", list: "array", dict: "object", str: "str"}.get(
        type(value), "number"
    )


def _text(name: object) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
