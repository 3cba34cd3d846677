"""One suite for every Store: in memory, in a directory, and in a real Kafka."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from kafka import KafkaAdminClient, KafkaProducer

from deploy.harness.broker import Broker
from detector.clock import SystemClock
from detector.errors import ConfigError
from detector.events import Partition
from detector.kafka.settings import KafkaSettings
from detector.recovery.changelog_topic import CREATED_WITH
from detector.recovery.codec import MAGIC, DamagedPage, decode, encode
from detector.recovery.editions import edition_name, edition_of, last_written
from detector.recovery.snapshot import SCHEMA, Head, Page, Stamp, to_page, to_rows
from detector.recovery.store import Store, load_last
from detector.recovery.store_kafka import KafkaStore
from detector.recovery.store_local import LocalStore, examine
from detector.state.decisions import KNOWN_STEPS, fresh_decisions
from detector.state.page_rows import PageRows
from tests.fakes import MemoryStore
from tests.unit.detector.recovery import SCHEMA_8

P = Partition("metrics", 7)
EDITION = edition_name("bundle")


def page(number: int, offset: int, names: tuple[str, ...] = ("a", "b")) -> Page:
    states = np.arange(len(names) * 3, dtype=np.float32).reshape(-1, 3) + offset
    return to_page(
        "bundle",
        P,
        PageRows(
            number,
            offset,
            names,
            states,
            fresh_decisions(len(names), known=True),
            np.full(len(names), 9.0),
        ),
        7,
        (),
    )


def head(offset: int, stamps: dict[int, int]) -> Head:
    return Head(
        SCHEMA,
        "bundle",
        P,
        offset,
        {number: Stamp(stamp, 7) for number, stamp in stamps.items()},
    )


def write(store: Store, head: Head, pages: Sequence[Page]) -> None:
    store.write_pages(P, pages)
    store.write_head(head)


@pytest.fixture(params=["memory", "local", "kafka"])
def reopened(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[[], Store]]:
    """Opens the store as a new process does."""
    memory = MemoryStore()
    opened = list[Store]()
    changelog = f"changelog-{uuid.uuid4().hex[:12]}"

    def reopen() -> Store:
        if request.param == "memory":
            return memory
        for store in opened:
            store.close()
        if request.param == "local":
            opened.append(LocalStore(tmp_path))
        else:
            opened.append(changelog_at(request.getfixturevalue("broker"), changelog))
        return opened[-1]

    yield reopen
    for store in opened:
        store.close()


def changelog_at(broker: Broker, topic: str) -> KafkaStore:
    return KafkaStore(
        KafkaSettings(bootstrap_servers=(broker.bootstrap,)), topic, SystemClock()
    )


def test_an_unknown_partition_has_nothing(reopened: Callable[[], Store]) -> None:
    assert load_last(reopened(), P) == (None, [])


def test_what_was_written_is_there_after_a_restart(
    reopened: Callable[[], Store],
) -> None:
    write(reopened(), head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    found, pages = load_last(reopened(), P)
    assert found == head(10, {0: 10, 1: 10})
    assert sorted(p.number for p in pages) == [0, 1]
    rows = to_rows(pages[0])
    assert rows.names == ("a", "b")
    assert rows.states.tolist() == [[10, 11, 12], [13, 14, 15]]
    assert rows.decisions["steps"].tolist() == [KNOWN_STEPS, KNOWN_STEPS]


def test_a_page_that_did_not_change_stays_as_it_was_written(
    reopened: Callable[[], Store],
) -> None:
    store = reopened()
    write(store, head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    write(store, head(20, {0: 20, 1: 10}), [page(0, 20)])
    found, pages = load_last(reopened(), P)
    assert found is not None
    assert found.offset == 20
    assert {p.number: p.stamp.offset for p in pages} == {0: 20, 1: 10}


def test_one_page_is_read_as_it_was_written_last(reopened: Callable[[], Store]) -> None:
    store = reopened()
    write(store, head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    write(store, head(20, {0: 20, 1: 10}), [page(0, 20)])
    for opened in (store, reopened()):
        load_last(opened, P)
        found = [opened.page(P, EDITION, number) for number in (0, 1, 2)]
        assert [p and p.stamp.offset for p in found] == [20, 10, None]
        assert opened.page(P, EDITION, 0) == found[0]


def test_partitions_do_not_mix(reopened: Callable[[], Store]) -> None:
    store = reopened()
    write(store, head(10, {0: 10}), [page(0, 10)])
    assert load_last(store, Partition("metrics", 8)) == (None, [])


def test_a_page_larger_than_a_brokers_default_is_kept(
    reopened: Callable[[], Store],
) -> None:
    names = tuple(f"s{i}" for i in range(256))
    states = np.random.default_rng(1).normal(size=(256, 2000)).astype(np.float32)
    write(
        reopened(),
        head(10, {0: 10}),
        [
            to_page(
                "bundle",
                P,
                PageRows(0, 10, names, states, fresh_decisions(256), np.zeros(256)),
                7,
                (),
            )
        ],
    )
    _, (found,) = load_last(reopened(), P)
    np.testing.assert_array_equal(to_rows(found).states, states)


def test_a_segment_is_there_after_a_restart_until_it_is_dropped(
    reopened: Callable[[], Store],
) -> None:
    store = reopened()
    store.put(P, "hook.1", b"first")
    store.put(P, "hook.2", b"second")
    assert store.get(P, "hook.1") == b"first"
    store = reopened()
    assert load_last(store, P) == (None, [])
    assert store.names(P) == ["hook.1", "hook.2"]
    assert [store.get(P, name) for name in store.names(P)] == [b"first", b"second"]
    store.drop(P, "hook.1")
    store.drop(P, "hook.1")
    assert store.get(P, "hook.1") is None
    store = reopened()
    load_last(store, P)
    assert (store.names(P), store.get(P, "hook.1"), store.get(P, "hook.2")) == (
        ["hook.2"],
        None,
        b"second",
    )


def test_segments_do_not_mix_with_pages_or_partitions(
    reopened: Callable[[], Store],
) -> None:
    store = reopened()
    store.put(P, "hook.1", b"first")
    write(store, head(10, {0: 10}), [page(0, 10)])
    store = reopened()
    assert [p.number for p in load_last(store, P)[1]] == [0]
    assert store.names(P) == ["hook.1"]
    load_last(store, Partition("metrics", 8))
    assert store.names(Partition("metrics", 8)) == []
    assert store.get(Partition("metrics", 8), "hook.1") is None


def test_a_torn_page_is_set_aside_and_the_others_load(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write(store, head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    (torn,) = tmp_path.glob("**/page-000001.swp")
    torn.write_bytes(torn.read_bytes()[:-3])
    _, pages = load_last(store, P)
    store.close()
    assert [p.number for p in pages] == [0]
    assert torn.with_suffix(".damaged").exists()


def test_what_a_later_version_wrote_is_left_alone(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write(store, head(10, {0: 10}), [page(0, 10)])
    later = msgspec.structs.replace(page(0, 20), schema=SCHEMA + 1)
    later_head = msgspec.structs.replace(head(20, {0: 20}), schema=SCHEMA + 1)
    write(store, later_head, [later])
    found, _ = load_last(store, P)
    store.close()
    assert found == head(10, {0: 10})
    (folder,) = tmp_path.glob(f"**/{edition_of(later)}")
    assert sorted(file.name for file in folder.iterdir()) == [
        "head.swp",
        "page-000000.swp",
    ]


def test_a_page_of_a_later_version_in_place_of_ours_is_kept(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    write(store, head(10, {0: 10, 1: 10}), [page(0, 10), page(1, 10)])
    (file,) = tmp_path.glob("**/page-000001.swp")
    later = encode(msgspec.structs.replace(page(1, 10), schema=SCHEMA + 1))
    file.write_bytes(later)
    _, pages = load_last(store, P)
    store.close()
    assert [p.number for p in pages] == [0]
    assert file.with_suffix(".unread").read_bytes() == later


def test_each_bundle_has_an_edition_of_its_own(
    reopened: Callable[[], Store],
) -> None:
    store = reopened()
    write(store, head(10, {0: 10}), [page(0, 10)])
    another = msgspec.structs.replace(head(20, {0: 20}), bundle="another", written=2.0)
    write(store, another, [msgspec.structs.replace(page(0, 20), bundle="another")])
    store = reopened()
    found = {edition.name: edition for edition in store.editions(P)}
    assert found.keys() == {EDITION, edition_name("another")}
    (left,) = found[EDITION].read()
    assert (left.bundle, left.stamp.offset) == ("bundle", 10)
    assert store.page(P, EDITION, 0) == left


def test_the_edition_that_was_written_last_counts(
    reopened: Callable[[], Store],
) -> None:
    store = reopened()
    first = msgspec.structs.replace(head(90, {}), written=1.0)
    another = msgspec.structs.replace(head(20, {}), bundle="another", written=2.0)
    store.write_head(another)
    store.write_head(first)
    last = last_written(reopened().editions(P))
    assert last is not None
    assert last.head == another


def test_an_edition_that_is_removed_takes_no_other_with_it(
    reopened: Callable[[], Store],
) -> None:
    store = reopened()
    write(store, head(10, {0: 10}), [page(0, 10)])
    another = msgspec.structs.replace(head(20, {0: 20}), bundle="another")
    write(store, another, [msgspec.structs.replace(page(0, 20), bundle="another")])
    store = reopened()
    store.editions(P)
    for _ in range(2):
        store.remove(P, EDITION)
    assert [e.name for e in reopened().editions(P)] == [edition_name("another")]


def test_a_second_daemon_is_kept_out_of_the_directory(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(ConfigError, match="another daemon"):
        LocalStore(tmp_path)
    store.close()
    LocalStore(tmp_path).close()


def test_a_directory_is_examined_without_leaving_a_trace(tmp_path: Path) -> None:
    examine(tmp_path / "not/there")
    assert list(tmp_path.iterdir()) == []
    store = LocalStore(tmp_path / "there")
    with pytest.raises(ConfigError, match="another daemon"):
        examine(tmp_path / "there")
    store.close()
    examine(tmp_path / "there")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"can't be kept in .*file/state"):
        examine(tmp_path / "file/state")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"junk",
        MAGIC,
        encode(page(0, 1))[:-1],
        encode(page(0, 1)) + b"x",
        encode(head(1, {})),
    ],
)
def test_bytes_that_are_not_a_page_are_damaged(data: bytes) -> None:
    with pytest.raises(DamagedPage):
        decode(data, Page)


def test_a_changelog_is_compacted_and_as_wide_as_the_input(
    broker: Broker,
) -> None:
    name = f"metrics-{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 3)
    store = changelog_at(broker, f"{name}-state")
    assert load_last(store, Partition(name, 0)) == (None, [])
    assert width(broker, f"{name}-state") == 3
    store.examine()
    # the input was given more partitions
    assert load_last(store, Partition(name, 4)) == (None, [])
    assert width(broker, f"{name}-state") == 5
    store.close()


def width(broker: Broker, topic: str) -> int:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    try:
        return len(admin.describe_topics([topic])[0]["partitions"])
    finally:
        admin.close()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "cleanup.policy=delete, which forgets states"),
        ({"cleanup.policy": "compact"}, "max.message.bytes"),
    ],
)
def test_a_topic_that_can_not_keep_states_is_refused(
    broker: Broker, config: dict[str, str], sentence: str
) -> None:
    name = f"state-{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, 8, config)
    store = changelog_at(broker, name)
    with pytest.raises(ConfigError, match=f"topic {name} has {sentence}"):
        load_last(store, P)
    store.close()


def test_a_changelog_of_schema_8_is_read(broker: Broker) -> None:
    topic = f"state-{uuid.uuid4().hex[:12]}"
    broker.create_topic(topic, 8, dict(CREATED_WITH))
    files = {"page/000000": "page-000000", "page/000001": "page-000001", "head": "head"}
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for key, name in files.items():
        value = (SCHEMA_8 / f"{name}.swp").read_bytes()
        producer.send(topic, key=f"{P}/{key}".encode(), value=value, partition=P.number)
    producer.close()
    store = changelog_at(broker, topic)
    found, pages = load_last(store, P)
    store.close()
    assert found is not None
    assert (found.schema, found.offset) == (SCHEMA, 500)
    assert [page.names for page in pages] == [("a", "b"), ("c",)]
    assert [len(page.alerts) for page in pages] == [2, 0]
    assert [len(page.open) for page in pages] == [1, 0]


def test_a_changelog_whose_head_is_damaged_counts_by_its_pages(broker: Broker) -> None:
    topic = f"state-{uuid.uuid4().hex[:12]}"
    store = changelog_at(broker, topic)
    another = msgspec.structs.replace(head(5, {}), bundle="another", written=1.0)
    store.write_head(another)
    write(store, head(10, {0: 10}), [page(0, 10)])
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    key = f"{P}/edition/{EDITION}/head".encode()
    producer.send(topic, key=key, value=b"x" * 40, partition=P.number)
    producer.close()
    found, pages = load_last(store, P)
    store.close()
    assert found is None
    assert [page.stamp.offset for page in pages] == [10]
