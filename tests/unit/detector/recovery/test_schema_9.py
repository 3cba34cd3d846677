"""An upgrade from schema 9 keeps all that it has, and fills in what it lacks.

The files in ``schema_9/`` are those of a local store for partition ``metrics/7``. The
last version with schema 9 wrote them: bundle ``bundle``, state size 3, one page.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from detector.events import Partition, Phase
from detector.recovery.codec import DamagedPage, decode
from detector.recovery.restore import restore
from detector.recovery.snapshot import SCHEMA, Head, Page, Restored, Stamp
from detector.recovery.store import load_last
from detector.recovery.store_local import LocalStore
from tests.unit.detector.recovery import SCHEMA_9

P = Partition("metrics", 7)


@pytest.fixture
def restored(tmp_path: Path) -> Restored:
    shutil.copytree(SCHEMA_9, tmp_path / "partitions" / "metrics" / "7")
    store = LocalStore(tmp_path)
    found = restore("bundle", *load_last(store, P), width=3)
    store.close()
    return found


def test_states_and_decisions_come_back(restored: Restored) -> None:
    (rows,) = restored.pages
    assert rows.names == ("a", "b")
    assert rows.states.tolist() == [[0, 0.125, 0.25], [0.375, 0.5, 0.625]]
    assert rows.times.tolist() == [60.0, 120.0]
    assert rows.decisions["phase"].tolist() == [Phase.FIRING, Phase.OK]
    assert rows.decisions["steps"].tolist() == [7, 8]
    assert rows.decisions["repeats_since"].tolist() == [60.0, 90.0]


def test_alerts_and_incidents_come_back(restored: Restored) -> None:
    assert [pending.order for _, pending in restored.alerts] == [3, 4]
    ((_, incident),) = restored.open
    assert (incident.stream, incident.starts_at) == ("a", 120.0)
    assert restored.stamps == {0: Stamp(500, 9)}
    assert (restored.offset, restored.resets) == (500, {})


def test_streams_have_no_labels(restored: Restored) -> None:
    (rows,) = restored.pages
    assert rows.labels == ({}, {})


def test_what_is_read_is_of_this_schema() -> None:
    page = decode((SCHEMA_9 / "page-000000.swp").read_bytes(), Page)
    assert page.schema == SCHEMA


def test_a_head_is_no_page() -> None:
    with pytest.raises(DamagedPage):
        decode((SCHEMA_9 / "head.swp").read_bytes(), Page)
    with pytest.raises(DamagedPage):
        decode((SCHEMA_9 / "page-000000.swp").read_bytes(), Head)
