"""Who observes the pipeline sees partitions, batches and alerts, in their order."""

from __future__ import annotations

from detector.alerting.policy import AlertTuning
from detector.events import Alert, Partition, RejectedRecord
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.build import build_pipeline
from detector.pipeline.observer import NullObserver, Observers, ScoredBatch
from detector.recovery.snapshot import Restored
from tests.fakes import PipelineRecorder, columns

P = Partition("metrics", 0)
Q = Partition("metrics", 1)


class EventLog(NullObserver):
    """The names of what it saw. Implements Observer."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def assigned(self, partition: Partition, restored: Restored) -> None:
        self.events.append(f"assigned {partition}")

    def revoked(self, partition: Partition) -> None:
        self.events.append(f"revoked {partition}")

    def scored(self, batch: ScoredBatch) -> None:
        self.events.append(f"scored {len(batch.offsets)}")

    def alerted(self, alert: Alert) -> None:
        self.events.append(f"alerted {alert.reason.label}")

    def rejected(self, record: RejectedRecord) -> None:
        self.events.append(f"rejected {record.reason}")

    def split(self, stream: str, one: Partition, other: Partition) -> None:
        self.events.append(f"split {stream} {one} {other}")


def test_every_observer_sees_every_event_in_order(bundle: Bundle) -> None:
    log = EventLog()
    recorder = PipelineRecorder()
    pipeline = build_pipeline(
        bundle,
        OnnxEngine(bundle),
        AlertTuning(),
        observer=Observers(log, recorder),
    )
    for partition in (P, Q):
        pipeline.assign(partition, Restored((), (), 0))
    quiet = [[0.0, 0.0]] * 4
    times = [60.0, 120.0, 180.0, 240.0]
    pipeline.process([columns(["a"] * 5, [*times, 300.0], [*quiet, [40, 0]])])
    pipeline.process([columns(["a"], [300.0], [[0, 0]], first=5)])
    pipeline.process([columns(["a"], [60.0], [[0, 0]], partition=Q)])
    pipeline.revoke(Q)
    assert log.events == [
        f"assigned {P}",
        f"assigned {Q}",
        *["scored 1"] * 5,
        "alerted fired",
        "rejected duplicate",
        f"split a {P} {Q}",
        "scored 1",
        f"revoked {Q}",
    ]
    assert len(recorder.alerts) == 1
    assert len(recorder.rejects) == 1


def test_a_batch_names_the_points_that_raise_its_alerts(bundle: Bundle) -> None:
    batches: list[ScoredBatch] = []

    class Keeper(NullObserver):
        def scored(self, batch: ScoredBatch) -> None:
            batches.append(batch)

    pipeline = build_pipeline(
        bundle, OnnxEngine(bundle), AlertTuning(), observer=Keeper()
    )
    pipeline.assign(P, Restored((), (), 0))
    for tick, value in enumerate([0.0, 0.0, 0.0, 0.0, 40.0]):
        time = 60.0 * (tick + 1)
        poll = columns(["a", "b"], [time] * 2, [[0, 0], [value, 0]], first=2 * tick)
        pipeline.process([poll])
    *quiet, last = batches
    assert [len(batch.transitions) for batch in quiet] == [0] * 4
    assert last.transitions.tolist() == [1]
    assert last.offsets.tolist() == [8, 9]
    assert last.times.tolist() == [300.0, 300.0]
    assert [last.names[slot] for slot in last.slots.tolist()] == ["a", "b"]
