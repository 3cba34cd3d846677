"""The one file of fakes: a bundle small enough to reason about, and stand-ins for the
ports.

The fake bundle's graph is a real one that onnxruntime runs: each feature's running mean
(gain 0.1) is the expectation, the score is the mean absolute difference from it over
the features that are present. It needs no torch. One that goes by the hour scores 0.1
higher for each hour of the day.
"""

from __future__ import annotations

import io
import math
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import onnx.parser

from detector.alerting.thresholds import FEEDBACK
from detector.errors import Permanent, StoreError
from detector.events import (
    F64,
    SINGLE_METRIC,
    Alert,
    Headers,
    Partition,
    RawBatch,
    RecordBatch,
    RejectedRecord,
    TimestampType,
)
from detector.model.bundle import (
    GRAPH,
    MANIFEST,
    SCHEMA,
    STREAMS,
    Bundle,
    Feature,
    Manifest,
    load_bundle,
    sha256,
)
from detector.model.tail import TailFit
from detector.notify.payload import OutgoingPost
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.ports import Assignments, Committed
from detector.recovery.editions import Edition, edition_of
from detector.recovery.snapshot import Head, Page

GRAPH_TEXT = """
<ir_version: 9, opset_import: ["" : 18]>
running_mean (float[B,{F}] x, float[B,3] clock, float[B,{F}] state)
    => (float[B] score, float[B,{F}] expected, float[B,{F}] contribution, float[B,{F}] next_state)
{{
    zero = Constant <value = float {{0.0}}> ()
    gain = Constant <value = float {{0.1}}> ()
    tiny = Constant <value = float {{1e-9}}> ()
    last = Constant <value = int64[1] {{1}}> ()
    missing = IsNaN (x)
    filled = Where (missing, state, x)
    difference = Sub (filled, state)
    error = Abs (difference)
    present = Not (missing)
    counted = Cast <to = 1> (present)
    seen = ReduceSum <keepdims = 0> (counted, last)
    floor = Max (seen, tiny)
    total = ReduceSum <keepdims = 0> (error, last)
    score = Div (total, floor)
    all = ReduceSum <keepdims = 1> (error, last)
    some = Max (all, tiny)
    contribution = Div (error, some)
    expected = Identity (state)
    step = Mul (difference, gain)
    next_state = Add (state, step)
}}
"""
_SCORE = "score = Div (total, floor)"
_BY_THE_HOUR = """plain = Div (total, floor)
    weights = Constant <value = float[3] {{0.0, 0.0000277777778, 0.0}}> ()
    hour = MatMul (clock, weights)
    score = Add (plain, hour)"""
# By the fake's tail a budget of 1 a week is a threshold of 3, of 0.1 a week one of 5.
# A threshold is taken for this many times the budget, so the rates are multiplied.
_FED = math.exp(FEEDBACK)
TAIL = TailFit(
    thresholds=(1.0, 3.0, 5.0),
    rates=(10.0 * _FED, _FED, 0.1 * _FED),
    slope=-1.151292546497023,
    stream_weeks=10.0,
)


def write_bundle(
    path: Path,
    features: Sequence[str] = ("cpu", "mem"),
    warm_up: int = 3,
    trained: Mapping[str, Sequence[float]] | None = None,
    by_the_hour: bool = False,
    timezone: str = "UTC",
) -> Path:
    """A bundle whose unknown streams expect 0 at first; ``trained`` gives known streams
    their first expectation.
    """
    path.mkdir(parents=True, exist_ok=True)
    text = GRAPH_TEXT.replace(_SCORE, _BY_THE_HOUR) if by_the_hour else GRAPH_TEXT
    graph = onnx.parser.parse_model(text.format(F=len(features))).SerializeToString()
    known = dict(trained or {})
    archive = io.BytesIO()
    rows = np.array(list(known.values()), np.float32).reshape(len(known), len(features))
    np.savez(
        archive,
        initial=np.zeros(len(features), np.float32),
        names=np.array(list(known), dtype=np.str_),
        rows=rows,
    )
    files = {GRAPH: graph, STREAMS: archive.getvalue()}
    digests = {name: sha256(data) for name, data in files.items()}
    manifest = Manifest(
        SCHEMA,
        "fake",
        "1",
        tuple(map(Feature, features)),
        60.0,
        len(features),
        warm_up,
        TAIL,
        digests,
        {},
        timezone=timezone,
    )
    for name, data in [*files.items(), (MANIFEST, msgspec.json.encode(manifest))]:
        (path / name).write_bytes(data)
    return path


def fake_bundle(
    path: Path,
    features: Sequence[str] = ("cpu", "mem"),
    warm_up: int = 3,
    trained: Mapping[str, Sequence[float]] | None = None,
) -> Bundle:
    return load_bundle(write_bundle(path, features, warm_up, trained))


def write_each_metric_bundle(path: Path, warm_up: int = 3) -> Path:
    """The same for one feature, and a manifest that makes each metric a stream."""
    write_bundle(path, (SINGLE_METRIC,), warm_up)
    manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    (path / MANIFEST).write_bytes(
        msgspec.json.encode(msgspec.structs.replace(manifest, each_metric=True))
    )
    return path


@dataclass
class FakeClock:
    """Time that moves when a test says so. Implements Clock."""

    now: float = 1000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def _open() -> threading.Event:
    gate = threading.Event()
    gate.set()
    return gate


@dataclass
class MemoryStore:
    """Keeps what was written; ``failing`` makes it a full disk, a cleared ``gate`` one
    that hangs. Implements Store.

    ``heads`` and ``pages`` are of the edition that was written last, ``others`` has
    the rest.
    """

    heads: dict[Partition, Head] = field(default_factory=dict)
    pages: dict[Partition, dict[int, Page]] = field(default_factory=dict)
    segments: dict[Partition, dict[str, bytes]] = field(default_factory=dict)
    others: dict[tuple[Partition, str], Edition] = field(default_factory=dict)
    failing: bool = False
    gate: threading.Event = field(default_factory=_open)

    def editions(self, partition: Partition) -> Sequence[Edition]:
        if self.failing:
            raise StoreError("no space left")
        others = [e for (owner, _), e in self.others.items() if owner == partition]
        current = self._current(partition)
        return others if current is None else [*others, current]

    def page(self, partition: Partition, edition: str, number: int) -> Page | None:
        if self.failing:
            raise StoreError("no space left")
        every = {e.name: e for e in self.editions(partition)}
        pages = every[edition].read() if edition in every else ()
        return next((page for page in pages if page.number == number), None)

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        self.gate.wait(timeout=30)
        if self.failing:
            raise StoreError("no space left")
        for page in pages:
            self._turn_to(partition, edition_of(page))
            self.pages.setdefault(partition, {})[page.number] = page

    def write_head(self, head: Head) -> None:
        if self.failing:
            raise StoreError("no space left")
        self._turn_to(head.partition, edition_of(head))
        self.heads[head.partition] = head

    def remove(self, partition: Partition, edition: str) -> None:
        self.others.pop((partition, edition), None)

    def _current(self, partition: Partition) -> Edition | None:
        head = self.heads.get(partition)
        pages = tuple(self.pages.get(partition, {}).values())
        if head is None and not pages:
            return None
        name = edition_of(pages[0] if head is None else head)
        written = 0.0 if head is None else head.written
        return Edition(name, head, written, lambda: pages)

    def _turn_to(self, partition: Partition, edition: str) -> None:
        """Put the edition that was written so far aside, if this is another one."""
        current = self._current(partition)
        if current is None or current.name == edition:
            return
        self.others[partition, current.name] = current
        self.heads.pop(partition, None)
        self.pages.pop(partition, None)
        again = self.others.pop((partition, edition), None)
        if again is not None:
            self.pages[partition] = {page.number: page for page in again.read()}
        if again is not None and again.head is not None:
            self.heads[partition] = again.head

    def put(self, partition: Partition, name: str, data: bytes) -> None:
        if self.failing:
            raise StoreError("no space left")
        self.segments.setdefault(partition, {})[name] = data

    def names(self, partition: Partition) -> Sequence[str]:
        return sorted(self.segments.get(partition, {}))

    def get(self, partition: Partition, name: str) -> bytes | None:
        if self.failing:
            raise StoreError("no space left")
        return self.segments.get(partition, {}).get(name)

    def drop(self, partition: Partition, name: str) -> None:
        self.segments.get(partition, {}).pop(name, None)

    def close(self) -> None:
        """Nothing to close."""


@dataclass(frozen=True, slots=True)
class MemoryRecord:
    """A record of a :class:`MemoryTopic`."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: Headers = ()


@dataclass
class MemoryTopic:
    """Partitions in memory, and the consumer group that reads them.

    Attributes:
        first: of each partition, the offset of its first record; empty: 0.
        offsets: what the group has committed.
        member: the group's one member.
    """

    name: str
    logs: list[list[MemoryRecord]]
    timestamp_type: TimestampType = TimestampType.CREATE_TIME
    first: list[int] = field(default_factory=list)
    offsets: dict[Partition, Committed] = field(default_factory=dict)
    member: object = None

    @property
    def partitions(self) -> list[Partition]:
        return [Partition(self.name, number) for number in range(len(self.logs))]


class MemorySource:
    """Reads a MemoryTopic; its first poll joins the group. Implements Source."""

    def __init__(
        self, topic: MemoryTopic, assignments: Assignments, from_start: bool = True
    ) -> None:
        self._topic = topic
        self._assignments = assignments
        self._from_start = from_start
        self._assigned: set[Partition] = set()
        self._positions: dict[Partition, int] = {}
        self._refused: dict[Partition, int] = {}
        self._held: dict[Partition, tuple[float, str]] = {}

    def poll(self, max_records: int, timeout: float) -> Sequence[RawBatch]:
        if self._topic.member is None:
            self._topic.member = self
            self._assign(self._topic.partitions)
        batches = []
        for partition, position in list(self._positions.items()):
            if self._is_held(partition):
                continue
            first, end = self.bounds(partition)
            if not first <= position <= end:
                del self._positions[partition]
                self._assignments.revoked([partition])
                self._assign([partition])
                continue
            taken = min(end - position, max_records)
            if taken:
                max_records -= taken
                self._positions[partition] = position + taken
                batches.append(self._batch(partition, position, position + taken))
        return batches

    def bounds(self, partition: Partition) -> tuple[int, int]:
        number = partition.number
        first = self._topic.first[number] if self._topic.first else 0
        return first, len(self._topic.logs[number])

    def first_offset(self, partition: Partition) -> int:
        first, end = self.bounds(partition)
        committed = self.committed(partition)
        if committed is not None and first <= committed.offset <= end:
            return committed.offset
        return first if self._from_start else end

    def committed(self, partition: Partition) -> Committed | None:
        return self._topic.offsets.get(partition)

    def start(self, partition: Partition, offset: int) -> None:
        if partition in self._assigned:
            self._positions[partition] = offset

    def seek(self, partition: Partition, offset: int) -> None:
        if partition in self._positions:
            self._positions[partition] = offset

    def hold(
        self, partition: Partition, offset: int, cause: str, seconds: float
    ) -> None:
        if partition in self._positions:
            self._positions[partition] = offset
            self._held[partition] = time.monotonic() + seconds, cause

    def commit(self, offsets: Mapping[Partition, Committed], wait: float = 0.0) -> None:
        if self._topic.member is self:
            self._topic.offsets.update(offsets)
        else:
            self._refused.update({p: c.offset for p, c in offsets.items()})

    def refused(self) -> Mapping[Partition, int]:
        refused = self._refused
        self._refused = {}
        return refused

    def lag(self, partition: Partition, offset: int) -> int | None:
        return max(0, self.bounds(partition)[1] - offset)

    def fault(self) -> str:
        held = [partition for partition in self._held if self._is_held(partition)]
        return "; ".join(
            f"{partition}: {self._held[partition][1]}" for partition in held
        )

    def _is_held(self, partition: Partition) -> bool:
        until, _ = self._held.get(partition, (0.0, ""))
        return time.monotonic() < until

    def close(self, timeout: float) -> None:
        if self._topic.member is self:
            self._topic.member = None

    def _assign(self, partitions: Sequence[Partition]) -> None:
        self._assigned.update(partitions)
        self._assignments.assigned(partitions)

    def _batch(self, partition: Partition, start: int, end: int) -> RawBatch:
        records = self._topic.logs[partition.number][start:end]
        return RawBatch(
            partition=partition,
            offsets=range(start, end),
            timestamps=[r.timestamp for r in records],
            timestamp_types=[self._topic.timestamp_type] * len(records),
            keys=[r.key for r in records],
            values=[r.value for r in records],
            headers=[r.headers for r in records],
        )


@dataclass
class DeadLetterList:
    """Implements DeadLetters."""

    notifications: list[tuple[Alert, str]] = field(default_factory=list)
    summaries: list[tuple[Alert, ...]] = field(default_factory=list)
    file: str = "dead-letters.ndjson"

    def notification(self, alert: Alert, cause: str, receiver: str) -> None:
        self.notifications.append((alert, cause))

    def summary(self, alerts: Sequence[Alert], cause: str, receiver: str) -> None:
        self.summaries.append(tuple(alerts))

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class ScriptedReceiver:
    """Answers each delivery by the next of ``answers``, then accepts. Implements
    Receiver.
    """

    answers: list[Exception] = field(default_factory=list)
    posts: list[OutgoingPost] = field(default_factory=list)
    attempts: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Nothing is open."""

    def deliver(self, post: OutgoingPost) -> None:
        self.attempts.append(post.key)
        if self.answers:
            raise self.answers.pop(0)
        self.posts.append(post)

    @property
    def delivered(self) -> list[Alert]:
        return [alert for post in self.posts for alert in post.alerts]


@dataclass
class PickyReceiver:
    """Refuses any post with an alert of one stream. Implements Receiver."""

    stream: str
    refusal: Permanent
    posts: list[OutgoingPost] = field(default_factory=list)

    def close(self) -> None:
        """Nothing is open."""

    def deliver(self, post: OutgoingPost) -> None:
        if any(alert.stream == self.stream for alert in post.alerts):
            raise self.refusal
        self.posts.append(post)


@dataclass
class PipelineRecorder(NullObserver):
    """Keeps what it saw; scores, thresholds, phases by offset. Implements Observer."""

    scores: dict[int, float] = field(default_factory=dict)
    thresholds: dict[int, float] = field(default_factory=dict)
    phases: dict[int, int] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    rejects: list[RejectedRecord] = field(default_factory=list)

    def scored(self, batch: ScoredBatch) -> None:
        offsets = batch.offsets.tolist()
        decisions = batch.decisions
        self.scores.update(zip(offsets, batch.step.score.tolist(), strict=True))
        self.thresholds.update(zip(offsets, decisions.threshold.tolist(), strict=True))
        self.phases.update(zip(offsets, decisions.phase.tolist(), strict=True))

    def alerted(self, alert: Alert) -> None:
        self.alerts.append(alert)

    def rejected(self, record: RejectedRecord) -> None:
        self.rejects.append(record)


# stream, start in event time, reason: what tells one notification from another
Incident = tuple[str, float, str]


@dataclass
class IncidentSet(NullObserver):
    """Keeps each alert once, as a receiver does after restarts. Implements Observer."""

    found: set[Incident]

    def alerted(self, alert: Alert) -> None:
        self.found.add((alert.stream, alert.starts_at, alert.reason.label))


def raw_batch(
    values: Sequence[bytes | None],
    keys: Sequence[bytes | None] | bytes | None = None,
    first: int = 0,
    partition: Partition | None = None,
    timestamp: int = 0,
) -> RawBatch:
    """A poll of these values; one key for all, or one each; offsets from ``first``."""
    count = len(values)
    repeated = [keys] * count if keys is None or isinstance(keys, bytes) else keys
    return RawBatch(
        partition=partition or Partition("metrics", 0),
        offsets=range(first, first + count),
        timestamps=[timestamp] * count,
        timestamp_types=[TimestampType.CREATE_TIME] * count,
        keys=repeated,
        values=values,
        headers=[()] * count,
    )


def raw_points(
    names: Sequence[str],
    times: Sequence[float],
    values: Sequence[Sequence[float]],
    first: int = 0,
    partition: Partition | None = None,
) -> RawBatch:
    """A poll of JSON records with the features cpu and mem, keyed by stream."""
    records = [
        msgspec.json.encode({"timestamp": time, "cpu": cpu, "mem": mem})
        for time, (cpu, mem) in zip(times, values, strict=True)
    ]
    return raw_batch(records, [name.encode() for name in names], first, partition)


def columns(
    names: Sequence[str | bytes],
    times: Sequence[float],
    values: Sequence[Sequence[float]],
    first: int = 0,
    partition: Partition | None = None,
) -> RecordBatch:
    """A poll as a test writes it down, offsets counted from ``first``."""
    offsets = np.arange(first, first + len(names))
    when: F64 = np.array(times, np.float64)
    return RecordBatch(
        partition or Partition("metrics", 0),
        list(names),
        offsets,
        when,
        np.array(values, np.float64),
        first + len(names),
    )
