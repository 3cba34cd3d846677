"""Reads pages, heads and segments of schema 7, the form before this one.

Schema 8 renamed fields of alerts, notifications and open incidents, and two kinds of
anomaly. States, decisions, times, heads and stamps keep their layout.

Every page is written in the new form once a record changes it. A page of idle streams
stays in schema 7 until one of them gets a record. When no supported upgrade starts
from schema 7 any more, delete this module, its test and its test data; then
``codec.decode`` knows one schema.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import msgspec

from detector.events import (
    Alert,
    AnomalyKind,
    FeatureDeviation,
    OpenIncident,
    Partition,
    PendingNotification,
    Reason,
    Severity,
)
from detector.model.bundle import BUILTIN, GRAPH, MANIFEST, sha256
from detector.recovery import snapshot
from detector.recovery.snapshot import Head, Page, Segment, Stamp

SCHEMA = 7

#: Digest of the built-in bundle when the schema was 7; it was called ``any`` then. A
#: bundle's digest is that of its manifest, which holds its name.
BUILTIN_THEN = "147a291c28626595f6f5f7e2e59c671369b3c805d6a12808357e9f3c6d1572bb"
#: Digest of its graph. A bundle with the same graph has the same states.
GRAPH_THEN = "165027369b93e46dd7909149570d582c870cfd4dedc55847127468738eb2d5a6"

_KINDS = {
    "value": AnomalyKind.VALUE,
    "stillness": AnomalyKind.FLATLINE,
    "course": AnomalyKind.TREND,
}

_Stored = TypeVar("_Stored", Page, Head, Segment)


class _Deviation(msgspec.Struct):
    name: str
    unit: str
    observed: float
    expected: float
    contribution: float
    odd: str = "value"

    def convert(self) -> FeatureDeviation:
        return FeatureDeviation(
            self.name,
            self.unit,
            self.observed,
            self.expected,
            self.contribution,
            _KINDS[self.odd],
        )


class _Alert(msgspec.Struct):
    partition: Partition
    stream: str
    severity: Severity
    reason: Reason
    starts_at: float
    ends_at: float | None
    at: float
    score: float
    level: float
    deviations: tuple[_Deviation, ...]
    confidence: float
    per_week: float

    def convert(self) -> Alert:
        return Alert(
            partition=self.partition,
            stream=self.stream,
            severity=self.severity,
            reason=self.reason,
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            at=self.at,
            score=self.score,
            threshold=self.level,
            deviations=tuple(found.convert() for found in self.deviations),
            confidence=self.confidence,
            per_week=self.per_week,
        )


class _Waiting(msgspec.Struct):
    alert: _Alert
    order: int
    owed: tuple[str, ...]

    def convert(self) -> PendingNotification:
        return PendingNotification(self.alert.convert(), self.order, self.owed)


class _Open(msgspec.Struct):
    stream: str
    starts_at: float
    alert: bytes
    told: Mapping[str, float]

    def convert(self) -> OpenIncident:
        alert = msgspec.msgpack.decode(self.alert, type=_Alert).convert()
        encoded = msgspec.msgpack.encode(alert)
        return OpenIncident(self.stream, self.starts_at, encoded, self.told)


class _Page(msgspec.Struct):
    bundle: str
    partition: Partition
    number: int
    stamp: Stamp
    names: tuple[str, ...]
    width: int
    states: bytes
    decisions: bytes
    times: bytes
    alerts: tuple[_Waiting, ...]
    open: tuple[_Open, ...]

    def convert(self) -> Page:
        return Page(
            schema=snapshot.SCHEMA,
            bundle=_bundle(self.bundle),
            partition=self.partition,
            number=self.number,
            stamp=self.stamp,
            names=self.names,
            width=self.width,
            states=self.states,
            decisions=self.decisions,
            times=self.times,
            alerts=tuple(waiting.convert() for waiting in self.alerts),
            open=tuple(incident.convert() for incident in self.open),
        )


class _Segment(msgspec.Struct):
    alerts: tuple[_Alert, ...]

    def convert(self) -> Segment:
        alerts = tuple(alert.convert() for alert in self.alerts)
        return Segment(snapshot.SCHEMA, alerts)


def _bundle(digest: str) -> str:
    return _builtin_now() if digest == BUILTIN_THEN else digest


@functools.cache
def _builtin_now() -> str:
    """The built-in bundle's digest today, if its graph is still the same."""
    manifest = (BUILTIN / MANIFEST).read_bytes()
    graph = sha256((BUILTIN / GRAPH).read_bytes())
    return sha256(manifest) if graph == GRAPH_THEN else BUILTIN_THEN


def _head(body: bytes) -> Head:
    head = msgspec.msgpack.decode(body, type=Head)
    bundle = _bundle(head.bundle)
    return msgspec.structs.replace(head, schema=snapshot.SCHEMA, bundle=bundle)


def _page(body: bytes) -> Page:
    return msgspec.msgpack.decode(body, type=_Page).convert()


def _segment(body: bytes) -> Segment:
    return msgspec.msgpack.decode(body, type=_Segment).convert()


_READERS: Mapping[type[Any], Callable[[bytes], Any]] = {
    Head: _head,
    Page: _page,
    Segment: _segment,
}


def decode(body: bytes, kind: type[_Stored]) -> _Stored:
    """``body`` in today's form. Raises msgspec.DecodeError if it has another shape."""
    return cast("_Stored", _READERS[kind](body))
