"""Nothing is committed that is not durable, and a store that fails stops nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from detector.consumer.checkpoints import make_all_durable
from detector.errors import StoreError
from detector.events import Partition
from detector.recovery.snapshot import CheckpointData, Head, Page
from detector.state.row_memory import PAGE
from tests.fakes import MemoryStore, raw_points
from tests.unit.detector.consumer.rig import P, Q, Rig, ScriptedSource, poll


def test_offsets_are_committed_after_the_pages_are_durable(rig: Rig) -> None:
    rig.assign(P)
    source = ScriptedSource(poll())
    rig.turn(source)
    rig.turn(source)
    assert source.commits == []
    rig.checkpoint(source)
    assert source.commits == [{P: 2}]
    assert rig.store.heads[P].offset == 2


def test_nothing_is_written_or_committed_twice(rig: Rig) -> None:
    rig.assign(P)
    source = ScriptedSource(poll())
    rig.turn(source)
    for _ in range(3):
        rig.checkpoint(source)
    assert source.commits == [{P: 2}]
    assert rig.value("detector_checkpoints_total", outcome="written") == 1


def test_a_refused_offset_is_committed_with_the_next_checkpoint(
    rig: Rig,
) -> None:
    rig.assign(P)
    source = ScriptedSource(poll())
    rig.turn(source)
    rig.checkpoint(source)
    source.refusals = {P: 2}  # as in a rebalance
    rig.turn(source)
    assert source.commits == [{P: 2}]  # not at once: the rebalance may go on
    rig.checkpoint(source)
    assert source.commits == [{P: 2}] * 2
    rig.checkpoint(source)
    assert source.commits == [{P: 2}] * 2


def test_a_refused_offset_never_replaces_a_later_one(
    rig: Rig,
) -> None:
    rig.assign(P, Q)
    source = ScriptedSource(poll(), poll(partition=Q))
    for _ in range(2):
        rig.turn(source)
    rig.checkpoint(source)
    source.polls = [poll(2)]
    rig.turn(source)
    rig.checkpoint(source)
    rig.partitions.revoked([Q])
    source.refusals = {P: 2, Q: 2}
    rig.checkpoint(source)
    assert source.commits == [{P: 2, Q: 2}, {P: 4}]


def test_the_last_checkpoint_commits_a_refused_offset(
    rig: Rig,
) -> None:
    rig.assign(P)
    source = ScriptedSource(poll())
    rig.turn(source)
    rig.checkpoint(source)
    source.refusals = {P: 2}
    rig.loop.finish(source, timeout=5)
    assert source.commits == [{P: 2}] * 2


def test_points_are_scored_while_a_checkpoint_is_written(rig: Rig) -> None:
    rig.assign(P)
    rig.store.gate.clear()
    source = ScriptedSource(poll(), poll(2), poll(4))
    rig.clock.now += 11
    rig.turn(source)
    rig.clock.now += 11
    rig.turn(source)
    rig.turn(source)
    assert rig.value("detector_scored_total") == 6
    assert source.commits == []
    rig.store.gate.set()
    rig.wait()
    rig.turn(source)
    assert source.commits == [{P: 2}]


def test_scoring_goes_on_without_commits_while_the_store_fails(rig: Rig) -> None:
    rig.assign(P)
    rig.store.failing = True
    source = ScriptedSource(poll(), [], [], poll(2))
    rig.turn(source)
    rig.checkpoint(source)
    assert source.commits == []
    assert "no space" in rig.health.store_fault
    assert rig.value("detector_checkpoints_total", outcome="failed") == 1
    rig.turn(source)
    assert rig.value("detector_scored_total") == 4
    assert rig.loop.checkpoints.age() == 11
    rig.store.failing = False
    rig.checkpoint(source)
    assert source.commits == [{P: 4}]
    assert rig.health.store_fault == ""
    assert {n for p in rig.store.pages[P].values() for n in p.names} == {"a", "b"}
    assert rig.loop.checkpoints.age() == 0


def test_the_last_checkpoint_is_durable_and_committed(
    rig: Rig,
) -> None:
    rig.assign(P)
    source = ScriptedSource(poll())
    rig.turn(source)
    rig.loop.finish(source, timeout=10)
    assert source.commits == [{P: 2}]
    assert rig.value("detector_lag_records") == 98


def test_a_store_that_hangs_does_not_block_a_stop(rig: Rig) -> None:
    rig.assign(P)
    rig.store.gate.clear()
    source = ScriptedSource(poll())
    rig.turn(source)
    rig.loop.finish(source, timeout=0.05)
    assert source.commits == []
    rig.store.gate.set()


def test_a_checkpoint_from_before_a_loss_changes_nothing_after_it(rig: Rig) -> None:
    rig.assign(P)
    names = [f"s{i}" for i in range(PAGE)]
    points = raw_points(names, [60.0] * PAGE, [[1, 1]] * PAGE)
    source = ScriptedSource([points])
    rig.turn(source)
    rig.checkpoint(source)
    rig.clock.now += 100  # all are idle, and the next checkpoint evicts them
    rig.store.gate.clear()
    rig.turn(source)
    rig.partitions.lost([P])
    rig.partitions.assigned([P])
    rig.store.gate.set()
    rig.wait()
    rig.turn(source)  # it starts, and the checkpoint of before is settled
    for number, stream in enumerate(["new", "s3"]):
        rig.checkpoint(source)
        point = raw_points([stream], [120.0], [[1, 1]], first=PAGE + number)
        source.polls = [[point]]
        rig.turn(source)
    slot = rig.pipeline.table.slots(P, ["s3"])[0]
    assert rig.pipeline.table.decisions["steps"][slot] == 2


@dataclass
class PickyStore(MemoryStore):
    """Notes the order of what is written, and refuses pages of one partition."""

    refused: Partition | None = None
    order: list[tuple[str, Partition]] = field(default_factory=list)

    def write_pages(self, partition: Partition, pages: Iterable[Page]) -> None:
        if partition == self.refused:
            raise StoreError("no space left")
        super().write_pages(partition, pages)
        self.order.append(("pages", partition))

    def write_head(self, head: Head) -> None:
        super().write_head(head)
        self.order.append(("head", head.partition))


def copies(rig: Rig) -> list[CheckpointData]:
    """Step 1 for two partitions."""
    rig.assign(P, Q)
    source = ScriptedSource(poll(), poll(partition=Q))
    for _ in range(2):
        rig.turn(source)
    found = [rig.pipeline.pages.capture(partition) for partition in (P, Q)]
    return [data for data in found if data is not None]


def test_a_head_is_written_after_its_pages(rig: Rig) -> None:
    store = PickyStore()
    make_all_durable(copies(rig), store)
    assert store.order == [("pages", P), ("head", P), ("pages", Q), ("head", Q)]


def test_a_partition_that_fails_gets_no_head_and_holds_no_other_back(rig: Rig) -> None:
    store = PickyStore(refused=P)
    result = make_all_durable(copies(rig), store)
    assert store.order == [("pages", Q), ("head", Q)]
    assert [data.head.partition for data in result.failed] == [P]
    assert [data.head.partition for data in result.written] == [Q]
    assert "no space" in result.fault
