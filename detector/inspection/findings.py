"""What a sample of a topic holds, worked out from its decoded records. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from detector.errors import RejectReason
from detector.events import (
    MetricKind,
    MissingCounts,
    Partition,
    RawBatch,
    RecordBatch,
    RejectedRecord,
    TimestampType,
)
from detector.names import metric_of
from detector.state.counter_names import is_named_counter

#: Points of a stream from which one that only rises looks like a counter.
LEAST_RISING: Final = 8
_KINDS: Final = (MetricKind.COUNTER, MetricKind.DELTA)
_STATED: Final = "as its format or a setting says"
_NAMED: Final = "by its name"
RISING: Final = "only rises in this sample"


@dataclass(frozen=True, slots=True)
class Clocks:
    """Event times against Kafka's timestamps of the same records, in seconds.

    Attributes:
        least, median, most: of event time minus Kafka's; negative: the event is before.
        ahead: of the newest event time minus the time now.
    """

    least: float
    median: float
    most: float
    ahead: float


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found in the decoded records of a sample.

    Attributes:
        streams: how many points each has, the most first.
        metrics: the same by metric, the last part of a stream's name.
        tags: different values of each tag.
        tick: seconds between two points of a stream, at the median; None: not known.
        record_rate: records a second; None: not known.
        broker_time: whether brokers set Kafka's timestamps.
        clocks: None without a point.
        keyed: records with a key.
        keys: different keys.
        headers: records by the names of their headers.
        split: streams on several partitions, and which.
        counters: metrics, and why they look like counters.
        missing: values that are missing, by metric and reason.
        rejected: by reason, with the first record of each.
    """

    records: int
    points: int
    streams: Mapping[str, int]
    metrics: Mapping[str, int]
    tags: Mapping[str, int]
    tick: float | None
    record_rate: float | None
    broker_time: bool
    clocks: Clocks | None
    keyed: int
    keys: int
    headers: Mapping[str, int]
    split: Mapping[str, Sequence[int]]
    counters: Mapping[str, str]
    missing: MissingCounts
    tombstones: int
    without_points: int
    rejected: Mapping[RejectReason, tuple[int, RejectedRecord]]


def find(decoded: Sequence[RecordBatch], now: float) -> Findings:
    """``decoded``: with each metric a stream; ``now`` in epoch seconds."""
    raws = [batch.raw for batch in decoded if batch.raw is not None]
    series = _series(decoded)
    keys = [key for raw in raws for key in raw.keys if key]
    streams = Counter({name: len(of.times) for name, of in series.items()})
    missing: Counter[tuple[str, object]] = Counter()
    for batch in decoded:
        missing.update(batch.missing)
    return Findings(
        records=sum(map(len, raws)),
        points=streams.total(),
        streams=dict(streams.most_common()),
        metrics=_metrics(streams),
        tags=_tags(decoded),
        tick=_tick(series),
        record_rate=_rate(raws),
        broker_time=_broker_time(raws),
        clocks=_clocks(decoded, now),
        keyed=len(keys),
        keys=len(set(keys)),
        headers=Counter(name for raw in raws for name in _header_names(raw)),
        split=_split(series),
        counters=_counters(series),
        missing=missing,  # type: ignore[arg-type]  # its keys are those of the batches
        tombstones=sum(batch.tombstones for batch in decoded),
        without_points=sum(batch.without_points for batch in decoded),
        rejected=by_reason(decoded),
    )


class _Series:
    """The points of one stream, in the order in which they were read."""

    __slots__ = ("kinds", "partitions", "times", "values")

    def __init__(self) -> None:
        self.times: list[float] = []
        self.values: list[float] = []
        self.kinds: set[int] = set()
        self.partitions: set[int] = set()


def _series(decoded: Sequence[RecordBatch]) -> Mapping[str, _Series]:
    series: dict[str, _Series] = defaultdict(_Series)
    for batch in decoded:
        kinds = None if batch.kinds is None else batch.kinds[:, 0].tolist()
        values = batch.values[:, 0].tolist()
        for i, name in enumerate(_names(batch)):
            of_stream = series[name]
            of_stream.times.append(float(batch.times[i]))
            of_stream.values.append(values[i])
            of_stream.partitions.add(batch.partition.number)
            if kinds is not None:
                of_stream.kinds.add(kinds[i])
    return series


def _names(batch: RecordBatch) -> Iterator[str]:
    for name in batch.names:
        yield name.decode(errors="replace") if isinstance(name, bytes) else name


def _metrics(streams: Mapping[str, int]) -> Mapping[str, int]:
    metrics: Counter[str] = Counter()
    for stream, points in streams.items():
        metrics[metric_of(stream)] += points
    return dict(metrics.most_common())


def _tags(decoded: Sequence[RecordBatch]) -> Mapping[str, int]:
    values: dict[str, set[str]] = defaultdict(set)
    for batch in decoded:
        for labels in batch.labels or ():
            for name, value in (labels or {}).items():
                values[name].add(value)
    return {name: len(values[name]) for name in sorted(values)}


def _tick(series: Mapping[str, _Series]) -> float | None:
    steps = [np.diff(np.sort(of.times)) for of in series.values()]
    every = np.concatenate(steps) if steps else np.empty(0)
    moved = every[every > 0]
    return float(np.median(moved)) if len(moved) else None


def _rate(raws: Sequence[RawBatch]) -> float | None:
    """The sum over partitions, by Kafka's timestamps."""
    of_partition: dict[Partition, list[int]] = defaultdict(list)
    for raw in raws:
        of_partition[raw.partition].extend(raw.timestamps)
    total = 0.0
    for stamps in of_partition.values():
        span = (max(stamps) - min(stamps)) / 1000
        if span > 0:
            total += (len(stamps) - 1) / span
    return total or None


def _broker_time(raws: Sequence[RawBatch]) -> bool:
    types = {kind for raw in raws for kind in raw.timestamp_types}
    return types == {TimestampType.LOG_APPEND_TIME}


def _clocks(decoded: Sequence[RecordBatch], now: float) -> Clocks | None:
    skews = []
    newest = -np.inf
    for batch in decoded:
        if batch.raw is None or not len(batch.times):
            continue
        offsets = np.array(batch.raw.offsets)
        stamps = np.array(batch.raw.timestamps) / 1000
        of_points = stamps[np.searchsorted(offsets, batch.offsets)]
        skews.append(batch.times - of_points)
        newest = max(newest, float(batch.times.max()))
    if not skews:
        return None
    every = np.concatenate(skews)
    return Clocks(
        least=float(every.min()),
        median=float(np.median(every)),
        most=float(every.max()),
        ahead=newest - now,
    )


def _header_names(raw: RawBatch) -> Iterator[str]:
    for headers in raw.headers:
        yield from {name for name, _ in headers}


def _split(series: Mapping[str, _Series]) -> Mapping[str, Sequence[int]]:
    return {
        name: sorted(of.partitions)
        for name, of in series.items()
        if len(of.partitions) > 1
    }


def _counters(series: Mapping[str, _Series]) -> Mapping[str, str]:
    """By metric, as the daemon tells a counter: by a format or a setting, by its name,
    or because each of its streams only rises.
    """
    stated: set[str] = set()
    named: set[str] = set()
    rising: dict[str, bool] = {}
    for name, of in series.items():
        metric = metric_of(name)
        if not of.kinds.isdisjoint(_KINDS):
            stated.add(metric)
        elif of.kinds <= {MetricKind.UNKNOWN}:  # no gauge is one, whatever it does
            rising[metric] = rising.get(metric, True) and _only_rises(of)
            if is_named_counter(name):
                named.add(metric)
    found = {metric: RISING for metric, rises in sorted(rising.items()) if rises}
    found |= dict.fromkeys(sorted(named), _NAMED)
    return found | dict.fromkeys(sorted(stated), _STATED)


def _only_rises(of: _Series) -> bool:
    if len(of.values) < LEAST_RISING:
        return False
    order = np.argsort(of.times, kind="stable")
    steps = np.diff(np.array(of.values)[order])
    return bool((steps >= 0).all() and (steps > 0).sum() >= LEAST_RISING - 1)


def by_reason(
    decoded: Sequence[RecordBatch],
) -> Mapping[RejectReason, tuple[int, RejectedRecord]]:
    """How many records are rejected for each reason, and the first of them."""
    found: dict[RejectReason, tuple[int, RejectedRecord]] = {}
    for record in chain.from_iterable(batch.rejected for batch in decoded):
        count, first = found.get(record.reason, (0, record))
        found[record.reason] = (count + 1, first)
    return found
