"""An upgrade from schema 8 keeps states, decisions, notifications and incidents.

The files in ``schema_8/`` are those of a local store for partition ``metrics/7``. The
last version with schema 8 wrote them: bundle ``bundle``, state size 3, two pages and
one segment. Field k of decision row i is i + k, but for the phase.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from detector.events import (
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Partition,
    PendingNotification,
    Phase,
    Reason,
    Severity,
)
from detector.recovery import schema_8
from detector.recovery.codec import DamagedPage, decode
from detector.recovery.editions import UNNAMED
from detector.recovery.restore import restore
from detector.recovery.snapshot import SCHEMA, Head, Page, Restored, Segment, Stamp
from detector.recovery.store import load_last
from detector.recovery.store_local import LocalStore
from tests.unit.detector.recovery import SCHEMA_8

P = Partition("metrics", 7)


def deviations(kind: AnomalyKind) -> tuple[FeatureDeviation, ...]:
    return (
        FeatureDeviation("cpu", "%", 1.5, 2.5, 0.75, kind),
        FeatureDeviation("mem", "MB", 3.5, 4.5, 0.25),
    )


ESCALATED = Alert(
    partition=P,
    stream="a",
    severity=Severity.CRITICAL,
    reason=Reason.ESCALATED,
    starts_at=120.0,
    ends_at=None,
    at=180.0,
    score=7.5,
    threshold=6.25,
    deviations=deviations(AnomalyKind.TREND),
    confidence=0.5,
    per_week=1.25,
)
RECOVERED = replace(
    ESCALATED,
    stream="b",
    severity=Severity.WARNING,
    reason=Reason.RECOVERED,
    ends_at=180.0,
    deviations=deviations(AnomalyKind.VALUE),
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    shutil.copytree(SCHEMA_8, tmp_path / "partitions" / "metrics" / "7")
    return tmp_path


@pytest.fixture
def store(directory: Path) -> Iterator[LocalStore]:
    store = LocalStore(directory)
    yield store
    store.close()


@pytest.fixture
def restored(store: LocalStore) -> Restored:
    return restore("bundle", *load_last(store, P), width=3)


def test_states_and_decisions_come_back(restored: Restored) -> None:
    hot, cold = restored.pages
    assert (hot.names, cold.names) == (("a", "b"), ("c",))
    assert hot.states.tolist() == [[0, 0.125, 0.25], [0.375, 0.5, 0.625]]
    assert hot.times.tolist() == [60.0, 120.0]
    assert hot.decisions["phase"].tolist() == [Phase.FIRING, Phase.OK]
    for k, name in enumerate(schema_8.DECISION.names or ()):
        if name != "phase":
            assert hot.decisions[name].tolist() == [k, k + 1], name


def test_an_incident_of_before_is_the_first_of_its_kind(restored: Restored) -> None:
    hot, cold = restored.pages
    assert hot.decisions["repeats"].tolist() == [1, 1]
    assert hot.decisions["repeats_since"].tolist() == hot.decisions["onset"].tolist()
    assert hot.decisions["shifted"].tolist() == [1, 1]
    assert cold.decisions["last_severity"].tolist() == [Severity.NONE]


def test_reading_goes_on_at_the_stored_offset(restored: Restored) -> None:
    assert restored.offset == 500
    assert restored.stamps == {0: Stamp(500, 9), 1: Stamp(400, 9)}
    assert restored.cold == {1}
    assert restored.resets == {}


def test_undelivered_notifications_come_back(restored: Restored) -> None:
    first = PendingNotification(ESCALATED, 3, ("hook", "pager"))
    assert restored.alerts == ((0, first), (0, PendingNotification(RECOVERED, 4)))


def test_open_incidents_come_back(restored: Restored) -> None:
    ((page, found),) = restored.open
    assert (page, found.stream, found.starts_at) == (0, "a", 120.0)
    assert found.last_acked == {"hook": 1.5, "pager": 0.0}
    assert msgspec.msgpack.decode(found.alert, type=Alert) == ESCALATED


def test_a_segment_comes_back(store: LocalStore) -> None:
    (name,) = store.names(P)
    data = store.get(P, name)
    assert data is not None
    segment = decode(data, Segment)
    kinds = [alert.deviations[0].kind for alert in segment.alerts]
    assert kinds == [AnomalyKind.FLATLINE, AnomalyKind.VALUE]
    assert segment.alerts[1] == RECOVERED


def test_nothing_is_set_aside(directory: Path, restored: Restored) -> None:
    assert list(directory.rglob("*.damaged")) == []


def test_a_page_of_streams_in_the_store_alone_is_read(store: LocalStore) -> None:
    page = store.page(P, UNNAMED, 1)
    assert page is not None
    assert (page.schema, page.names) == (SCHEMA, ("c",))


def test_a_head_is_no_page() -> None:
    with pytest.raises(DamagedPage):
        decode((SCHEMA_8 / "head.swp").read_bytes(), Page)
    with pytest.raises(DamagedPage):
        decode((SCHEMA_8 / "page-000000.swp").read_bytes(), Head)
