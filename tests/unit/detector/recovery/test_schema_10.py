"""Pages of schema 10 are read in every field, whatever form comes next.

The files in ``schema_10/`` are those of a local store for partition ``metrics/7``, from
before there were editions: bundle ``bundle``, state size 3, one page. Field k of
decision row i is i + k, but for the phase; so are the fields of counters.
"""

from __future__ import annotations

import shutil
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
    RateBound,
    Reason,
    Severity,
)
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored, Stamp
from detector.recovery.store import load_last
from detector.recovery.store_local import LocalStore
from detector.state.counters import COUNTER
from detector.state.decisions import DECISION
from detector.state.held_points import HeldPoint, StreamPast
from tests.unit.detector.recovery import SCHEMA_10

P = Partition("metrics", 7)
RATE = FeatureDeviation("value", "", 1.5, 2.5, 1.0, AnomalyKind.VALUE, is_rate=True)
FIRED = Alert(
    partition=P,
    stream="a",
    severity=Severity.CRITICAL,
    reason=Reason.FIRED,
    starts_at=120.0,
    ends_at=None,
    at=180.0,
    score=7.5,
    threshold=6.25,
    deviations=(RATE,),
    confidence=0.5,
    per_week=1.25,
    rate_bound=RateBound.AT_MOST,
    repeats=2,
    repeats_since=60.0,
    tags={"rack": "1"},
)
HELD = HeldPoint(
    time=190.0,
    offset=510,
    values=(4.0,),
    is_jump=True,
    kinds=(2,),
    starts=(50.0,),
    labels={"rack": "2"},
    key=b"b",
    value=b"{}",
)


@pytest.fixture
def restored(tmp_path: Path) -> Restored:
    shutil.copytree(SCHEMA_10, tmp_path / "partitions" / "metrics" / "7")
    store = LocalStore(tmp_path)
    found = restore("bundle", *load_last(store, P), width=3)
    store.close()
    return found


def test_streams_come_back(restored: Restored) -> None:
    (rows,) = restored.pages
    assert rows.names == ("a", "b")
    assert rows.states.tolist() == [[0, 0.125, 0.25], [0.375, 0.5, 0.625]]
    assert rows.times.tolist() == [60.0, 120.0]
    assert rows.labels == ({"rack": "1"}, {})
    assert rows.pasts == {1: StreamPast(90.0, HELD)}
    assert rows.decisions["phase"].tolist() == [Phase.FIRING, Phase.OK]
    for k, name in enumerate(DECISION.names or ()):
        if name != "phase":
            assert rows.decisions[name].tolist() == [k, k + 1], name


def test_counters_come_back(restored: Restored) -> None:
    (rows,) = restored.pages
    for k, name in enumerate(COUNTER.names or ()):
        if name == "unused":
            continue
        assert rows.counters[name].tolist() == [[k], [k + 1]], name


def test_alerts_and_incidents_come_back(restored: Restored) -> None:
    assert restored.alerts == ((0, PendingNotification(FIRED, 3, ("hook",))),)
    ((_, incident),) = restored.open
    assert msgspec.msgpack.decode(incident.alert, type=Alert) == FIRED
    assert incident.last_acked == {"hook": 1.5}


def test_reading_goes_on_where_it_was(restored: Restored) -> None:
    assert restored.offset == 500
    assert restored.stamps == {0: Stamp(500, 9)}
    assert restored.resets == {}
