"""A bundle goes on from what was written last, and leaves the rest where it is."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from detector.events import SINGLE_METRIC, Phase
from detector.recovery.editions import UNNAMED, edition_name
from detector.recovery.snapshot import SCHEMA, Head, Page, Restored, Stamp
from detector.recovery.state_reader import KEEP, ReadingBundle, StateReader
from detector.recovery.store_local import LocalStore
from detector.recovery.store_thread import StoreWorker
from detector.recovery.takeover import Takeover
from detector.state.initial_state import InitialStates
from detector.state.page_rows import PageRows
from tests.fakes import FakeClock
from tests.unit.detector.recovery import SCHEMA_8, SCHEMA_9, SCHEMA_10
from tests.unit.detector.recovery.pages import ALERT, WIDTH, WRITER, P, head, page

FEATURES = (SINGLE_METRIC,)
UNKNOWN = np.zeros(WIDTH, np.float32)
NONE = np.zeros((0, WIDTH), np.float32)
PENALTIES = np.zeros(0, np.float32)
INITIAL = InitialStates(UNKNOWN, {}, NONE, PENALTIES, NONE, np.zeros(0))


class Stored:
    """A directory with states, and readers of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.store = LocalStore(directory)
        self.worker = StoreWorker(self.store)

    def write(self, head: Head, *pages: Page) -> None:
        self.store.write_pages(P, pages)
        self.clock.now += 1
        features = head.features or FEATURES
        written = self.clock.now
        self.store.write_head(
            msgspec.structs.replace(head, features=features, written=written)
        )

    def reader(self, bundle: str, keep: float = KEEP) -> StateReader:
        reading = ReadingBundle(bundle, WIDTH, Takeover(FEATURES, INITIAL))
        return StateReader(self.worker, reading, keep, self.clock)

    def load(self, bundle: str, keep: float = KEEP) -> Restored:
        return self.reader(bundle, keep).load(P).result(timeout=10)

    def damage_head(self, bundle: str) -> None:
        (file,) = self.directory.glob(f"**/{edition_name(bundle)}/head.swp")
        file.write_bytes(b"x" * 40)

    def editions(self) -> list[str]:
        return [edition.name for edition in self.store.editions(P)]


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[Stored]:
    made = Stored(tmp_path)
    yield made
    made.worker.close(timeout=5)


def states(pages: tuple[PageRows, ...]) -> dict[str, float]:
    """The first number of each stream's state."""
    found: dict[str, float] = {}
    for rows in pages:
        found.update(zip(rows.names, rows.states[:, 0].tolist(), strict=True))
    return found


def test_a_bundle_goes_on_from_its_own_edition(stored: Stored) -> None:
    stored.write(head(500, {0: 500}), page(0, 500))
    found = stored.load("bundle")
    assert (found.offset, found.warm_up) == (500, None)
    assert states(found.pages) == {"s0": 500}
    assert found.stamps == {0: Stamp(500, WRITER)}
    assert found.written == stored.clock.now


def test_going_back_finds_the_states_of_before(stored: Stored) -> None:
    stored.write(head(500, {0: 500, 1: 500}), page(0, 500), page(1, 500))
    later = head(900, {0: 900, 1: 900}, "another")
    stored.write(later, page(0, 900, "another"), page(1, 900, "another"))
    found = stored.load("bundle")
    assert found.offset == 900
    assert states(found.pages) == {"s0": 500, "s1": 500}
    assert found.stamps == {}
    assert found.warm_up is not None
    assert found.warm_up.offset == 500
    assert states(found.warm_up.pages) == {"s0": 500, "s1": 500}
    assert [rows.offset for rows in found.warm_up.pages] == [500, 500]


def test_what_the_bundle_in_between_told_is_what_counts(stored: Stored) -> None:
    left = replace(ALERT, order=1)
    stored.write(head(500, {0: 500}), page(0, 500, alerts=(left,)))
    later = page(0, 900, "another", alerts=(ALERT,))
    stored.write(head(900, {0: 900}, "another"), later)
    assert stored.load("bundle").alerts == ((0, ALERT),)


def test_the_time_after_going_back_counts(stored: Stored) -> None:
    """Once it has written again, its own edition is the last one."""
    stored.write(head(500, {0: 500}), page(0, 500))
    stored.write(head(900, {0: 900}, "another"), page(0, 900, "another"))
    stored.write(head(900, {0: 900}), page(0, 900))
    assert states(stored.load("bundle").pages) == {"s0": 900}
    assert stored.load("bundle").warm_up is None


def test_pages_from_before_another_bundle_hold_nothing_back(stored: Stored) -> None:
    stored.write(head(500, {0: 500, 4: 500}), page(0, 500), page(4, 500))
    stored.write(head(900, {0: 900}, "another"), page(0, 900, "another"))
    stored.write(head(950, {0: 950}), page(0, 950))
    found = stored.load("bundle")
    assert (found.offset, len(found.pages)) == (950, 1)


def test_a_first_checkpoint_that_was_cut_off_changes_nothing(stored: Stored) -> None:
    stored.write(head(500, {0: 500}, "another"), page(0, 500, "another"))
    stored.store.write_pages(P, [page(0, 700), page(1, 700)])
    found = stored.load("bundle")
    assert found.offset == 500
    assert states(found.pages) == {"s0": 0}


def test_an_edition_in_force_counts_by_its_pages_if_its_head_is_damaged(
    stored: Stored,
) -> None:
    stored.write(head(500, {0: 500}, "another"), page(0, 500, "another"))
    stored.write(head(900, {0: 900, 1: 900}), page(0, 900), page(1, 900))
    stored.damage_head("bundle")
    (torn,) = stored.directory.glob("**/page-000001.swp")
    torn.write_bytes(b"x" * 40)
    for _ in range(2):  # the second start finds the head set aside
        found = stored.load("bundle")
        assert found.resets == {}
        assert states(found.pages)["s0"] == 900
        assert found.pages[0].offset == 900
        assert found.offset == 0


def test_an_edition_that_others_have_overtaken_does_not_count_by_its_pages(
    stored: Stored,
) -> None:
    stored.write(head(500, {0: 500}), page(0, 500))
    written = msgspec.structs.replace(head(900, {0: 900, 1: 900}, "another"), cold=(1,))
    stored.write(written, page(0, 900, "another"), page(1, 900, "another"))
    stored.damage_head("bundle")
    for _ in range(2):  # the first moves the page of idle streams there
        assert stored.load("bundle").offset == 900


def test_a_first_checkpoint_that_was_cut_off_where_a_head_was_damaged_does_not_count(
    stored: Stored,
) -> None:
    stored.write(head(500, {0: 500}), page(0, 500))
    stored.damage_head("bundle")
    stored.load("another")
    stored.store.remove(P, edition_name("bundle"))
    stored.write(head(900, {0: 900}, "another"), page(0, 900, "another"))
    stored.store.write_pages(P, [page(0, 950)])
    assert stored.load("bundle").offset == 900


def test_streams_in_the_store_alone_stay_there(stored: Stored) -> None:
    written = head(500, {0: 500, 1: 500}, "another")
    written = msgspec.structs.replace(written, cold=(1,))
    stored.write(written, page(0, 500, "another"), page(1, 500, "another"))
    found = stored.load("bundle")
    assert found.cold == {1}
    assert found.stamps.keys() == {1}
    moved = stored.reader("bundle").page(P, 1)
    assert moved is not None
    assert (moved.names, moved.states[0, 0]) == (("s1",), 0)


def test_going_back_from_other_features_leaves_idle_streams_as_they_were(
    stored: Stored,
) -> None:
    """A second start, before any checkpoint, reads what they missed once more."""
    written = head(500, {0: 500, 1: 400})
    written = msgspec.structs.replace(written, cold=(1,))
    stored.write(written, page(0, 500), page(1, 400))
    later = msgspec.structs.replace(head(900, {}, "another"), features=("x", "y"))
    stored.write(later)
    for _ in range(2):
        found = stored.load("bundle")
        assert (found.offset, found.cold) == (900, frozenset({1}))
        assert found.stamps == {1: Stamp(400, WRITER)}
        assert found.warm_up is not None
        assert [rows.offset for rows in found.warm_up.pages] == [500, 500]


@pytest.mark.parametrize("kept", [True, False])
def test_other_editions_are_kept_for_the_time_that_is_set(
    stored: Stored, kept: bool
) -> None:
    stored.write(head(100, {0: 100}, "oldest"), page(0, 100, "oldest"))
    stored.write(head(500, {0: 500}), page(0, 500))
    stored.clock.now += 3000 if kept else 4000
    stored.write(head(900, {0: 900}, "another"), page(0, 900, "another"))
    stored.load("bundle", keep=3600)
    names = {edition_name("bundle"), edition_name("another")}
    names |= {edition_name("oldest")} if kept else set()
    assert set(stored.editions()) == names


@pytest.mark.parametrize(
    "folder", [SCHEMA_8, SCHEMA_9, SCHEMA_10], ids=["8", "9", "10"]
)
def test_an_upgrade_leaves_the_files_of_before_as_they_are(
    stored: Stored, folder: Path
) -> None:
    home = stored.directory / "partitions" / "metrics" / "7"
    shutil.copytree(folder, home)
    os.utime(home / "head.swp", (stored.clock.now, stored.clock.now))
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    found = stored.load("bundle")
    assert found.offset == 500
    assert (found.resets, found.warm_up) == ({}, None)
    decisions = found.pages[0].decisions
    assert decisions["phase"].tolist() == [Phase.FIRING, Phase.OK]
    stored.write(head(900, {0: 900}), page(0, 900))
    now = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    assert now == before
    assert stored.load("bundle").offset == 900


def test_after_a_downgrade_and_an_upgrade_what_was_written_last_counts(
    stored: Stored,
) -> None:
    home = stored.directory / "partitions" / "metrics" / "7"
    shutil.copytree(SCHEMA_9, home)
    stored.write(head(400, {0: 400}), page(0, 400))
    later = stored.clock.now + 1
    os.utime(home / "head.swp", (later, later))
    found = stored.load("bundle")
    assert (found.offset, found.warm_up) == (500, None)
    assert found.pages[0].names == ("a", "b")


def test_the_files_of_a_version_before_are_removed_in_time(stored: Stored) -> None:
    home = stored.directory / "partitions" / "metrics" / "7"
    shutil.copytree(SCHEMA_9, home)
    os.utime(home / "head.swp", (500, 500))
    stored.write(head(900, {0: 900}), page(0, 900))
    stored.load("bundle", keep=100)
    assert UNNAMED not in stored.editions()
    assert not list(home.glob("page-*"))


def test_a_head_of_this_version_names_its_schema() -> None:
    assert edition_name("0123456789abcdef0123") == f"{SCHEMA}-0123456789abcdef"
