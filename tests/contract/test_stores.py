"""One suite on the fake store and on the real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.decide import fresh
from detector.errors import ConfigError
from detector.events import Partition
from detector.model.streams import PageRows
from detector.ports import Store
from detector.recovery.snapshot import MAGIC, SCHEMA, DamagedPage, Head, Page, Stamp, decode, encode, to_page, to_rows
from detector.recovery.store_local import LocalStore
from tests.fakes import MemoryStore

P = Partition("metrics", 7)


def page(number: int, offset: int, names: tuple[str, ...] = ("a", "b")) -> Page:
    states = np.arange(len(names) * 3, dtype=np.float32).reshape(-1, 3) + offset
    return to_page("bundle", P, PageRows(number, offset, names, states, fresh(len(names), 4), np.full(len(names), 9.0)), 7, ())


def head(offset: int, stamps: dict[int, int]) -> Head:
    return Head(SCHEMA, "bundle", P, offset, {number: Stamp(stamp, 7) for number, stamp in stamps.items()})


@pytest.fixture(params=["memory", "local"])
def reopened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the store, as a process that starts anew does."""
    memory, opened = MemoryStore(), list[LocalStore]()

    def reopen() -> Store:
        if request.param == "memory":
            return memory
        for store in opened:
            store.close()
        opened.append(LocalStore(tmp_path))
        return opened[-1]

    yield reopen
    for store in opened:
        store.close()


def test_an_unknown_partition_has_nothing(reopened: Callable[[], Store]) -> None:
    assert reopened().load(P) == (None, [])


def test_what_was_written_is_there_after_a_restart(reopened: Callable[[], Store]) -> None:
    reopened().write(head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    found, pages = reopened().load(P)
    assert found == head(10, {0: 10, 1: 10})
    assert sorted(p.number for p in pages) == [0, 1]
    rows = to_rows(pages[0])
    assert rows.names == ("a", "b")
    assert rows.states.tolist() == [[10, 11, 12], [13, 14, 15]]
    assert rows.decisions["steps"].tolist() == [4, 4]


def test_a_page_that_did_not_change_stays_as_it_was_written(reopened: Callable[[], Store]) -> None:
    store = reopened()
    store.write(head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    store.write(head(20, {0: 20, 1: 10}), [page(0, 20)])
    found, pages = reopened().load(P)
    assert found is not None
    assert found.offset == 20
    assert {p.number: p.stamp.offset for p in pages} == {0: 20, 1: 10}


def test_partitions_do_not_mix(reopened: Callable[[], Store]) -> None:
    store = reopened()
    store.write(head(10, {0: 10}), [page(0, 10)])
    assert store.load(Partition("metrics", 8)) == (None, [])


def test_a_torn_page_is_set_aside_and_the_others_are_loaded(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    (torn,) = tmp_path.glob("**/page-000001.swp")
    torn.write_bytes(torn.read_bytes()[:-3])
    _, pages = store.load(P)
    store.close()
    assert [p.number for p in pages] == [0]
    assert torn.with_suffix(".damaged").exists()


def test_a_second_daemon_is_kept_out_of_the_directory(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(ConfigError, match="another daemon"):
        LocalStore(tmp_path)
    store.close()
    LocalStore(tmp_path).close()


@pytest.mark.parametrize("data", [b"", b"junk", MAGIC, encode(page(0, 1))[:-1], encode(page(0, 1)) + b"x", encode(head(1, {}))])
def test_bytes_that_are_no_page_are_damaged(data: bytes) -> None:
    with pytest.raises(DamagedPage):
        decode(data, Page)
