"""The incident log beside a real pipeline: what it lists, and where incidents peak."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.consumer.checkpoints import make_durable
from detector.events import Alert, Partition
from detector.history import incident_log
from detector.history.incident_log import IncidentLog
from detector.history.peaks import RELINKED
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.labels import Labelling
from detector.notify.outbox import Outbox
from detector.notify.payload import AlertBody
from detector.notify.routes import Routing
from detector.pipeline.build import alert_composer, build_pipeline
from detector.pipeline.observer import NullObserver, Observers
from detector.pipeline.parts import Setup
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored
from detector.recovery.store import load_last
from tests.fakes import MemoryStore, columns, fake_bundle

P = Partition("metrics", 0)
Q = Partition("metrics", 1)
NOBODY = Routing(())
NEW = Restored((), (), None)
TUNING = AlertTuning(cooldown_ticks=0, min_gap=0)
WARM = [0.0] * 4
LABELS = Labelling(fixed={"site": "north"})


class Alerts(NullObserver):
    """Every alert as it was raised."""

    def __init__(self) -> None:
        self.raised: list[Alert] = []

    def alerted(self, alert: Alert) -> None:
        self.raised.append(alert)


class Member:
    """A pipeline with a log; streams have the features ``cpu`` and ``mem``."""

    def __init__(
        self,
        bundle: Bundle,
        routing: Routing = NOBODY,
        store: MemoryStore | None = None,
    ) -> None:
        self.bundle = bundle
        self.routing = routing
        self.log = IncidentLog(LABELS, alert_composer(bundle, TUNING))
        self.alerts = Alerts()
        self.outbox = Outbox(routing)
        self.pipeline = build_pipeline(
            bundle,
            OnnxEngine(bundle),
            TUNING,
            observer=Observers(self.log, self.alerts),
            outbox=self.outbox,
        )
        self.next = dict.fromkeys((P, Q), 0)
        restored = NEW
        if store is not None:
            width = bundle.manifest.state_size
            restored = restore(bundle.digest, *load_last(store, P), width)
        self.pipeline.assign(P, restored)

    def poll(self, cpu: Mapping[str, float], partition: Partition = P) -> None:
        """The next minute's point of each of these streams, always as many."""
        first = self.next[partition]
        self.next[partition] += len(cpu)
        time = 60.0 * (first // len(cpu) + 1)
        values = [[value, 0] for value in cpu.values()]
        polled = columns(list(cpu), [time] * len(cpu), values, first, partition)
        self.pipeline.process([polled])

    def feed(
        self,
        cpu: Sequence[float],
        streams: Sequence[str] = ("a",),
        partition: Partition = P,
    ) -> None:
        """One value after the other, the same for all streams."""
        for value in cpu:
            self.poll(dict.fromkeys(streams, value), partition)

    def firing(self) -> list[AlertBody]:
        return self.log.alerts().firing

    def resolved(self) -> list[AlertBody]:
        return self.log.alerts().resolved

    def store(self) -> MemoryStore:
        """What it has written."""
        capture = self.pipeline.pages.capture(P)
        assert capture is not None
        store = MemoryStore()
        make_durable(store, capture)
        return store

    def restarted(self) -> Member:
        """Another member that takes over."""
        again = Member(self.bundle, self.routing, self.store())
        again.next = dict(self.next)
        return again


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return fake_bundle(tmp_path)


@pytest.fixture
def member(bundle: Bundle) -> Member:
    return Member(bundle)


def scores(entry: AlertBody) -> float:
    return float(entry.annotations["score"])


# -- the peak --------------------------------------------------------------------------


def test_a_resolved_incident_is_listed_with_its_peak(member: Member) -> None:
    member.feed([*WARM, 30, 90, 40, *[5] * 60])
    fired, *_, ended = member.alerts.raised
    (entry,) = member.resolved()
    # the score at the second point: |90 - 0.1 * 30| and 0 of two features
    assert scores(entry) == pytest.approx(43.5, abs=0.1)
    assert scores(entry) > max(fired.score, ended.score)
    assert float(entry.annotations["threshold"]) < 43.5
    assert entry.annotations["observed"] == "cpu=90"
    assert entry.annotations["expected"] == "cpu=3"
    assert entry.annotations["at"] == "1970-01-01T00:06:00.000Z"
    assert "cpu 90 (expected 3). Score 43.50" in entry.annotations["description"]
    assert entry.annotations["reason"] == ended.reason.label


def test_a_resolved_incident_is_listed_with_its_length(member: Member) -> None:
    member.feed([*WARM, 30, *[0] * 60])
    (ended,) = [a for a in member.alerts.raised if not a.firing]
    assert ended.ends_at is not None
    minutes = (ended.ends_at - ended.starts_at) / 60
    (entry,) = member.resolved()
    assert entry.annotations["duration"] == f"{minutes:.0f} min"
    assert f"It lasted {minutes:.0f} min." in entry.annotations["description"]


def test_an_open_incident_is_listed_with_its_peak_so_far(member: Member) -> None:
    member.feed([*WARM, 30])
    (first,) = member.firing()
    member.feed([90])
    (second,) = member.firing()
    member.feed([60])
    (third,) = member.firing()
    assert scores(first) < scores(second) == scores(third)
    assert second.startsAt == first.startsAt
    assert "duration" not in second.annotations


def test_the_threshold_at_the_peak_is_that_of_the_severity(member: Member) -> None:
    member.feed([*WARM, 90])
    (fired,) = member.alerts.raised
    assert fired.severity.label == "critical"
    (entry,) = member.firing()
    assert float(entry.annotations["threshold"]) == pytest.approx(fired.threshold)
    member.feed([200])
    (entry,) = member.firing()
    assert scores(entry) > 90
    assert float(entry.annotations["threshold"]) == pytest.approx(
        fired.threshold, rel=0.1
    )


def test_an_incident_that_becomes_critical_is_listed_so(member: Member) -> None:
    member.feed([*WARM, 13])
    assert [a.severity.label for a in member.alerts.raised] == ["warning"]
    member.feed([60])
    assert [a.severity.label for a in member.alerts.raised] == ["warning", "critical"]
    (entry,) = member.firing()
    assert entry.labels["severity"] == "critical"
    assert entry.annotations["reason"] == "escalated"


def test_an_incident_that_returns_is_listed_once_with_its_count(
    member: Member,
) -> None:
    member.feed([*WARM, *[900, *[0] * 60] * 6])
    (entry,) = member.firing()
    assert entry.annotations["reason"] == "returned"
    assert entry.annotations["repeats"].startswith("6 times since ")
    assert len(member.resolved()) == 3


def test_a_score_that_is_not_a_number_is_no_peak(member: Member) -> None:
    member.feed([*WARM, 30, np.inf])
    (entry,) = member.firing()
    assert scores(entry) == pytest.approx(15, abs=0.1)


def test_peaks_are_each_streams_own(member: Member) -> None:
    """Three hundred at once, more than links are found again for in a batch."""
    hosts = range(RELINKED + 44)
    streams = [f"host-{i}" for i in hosts]
    member.feed(WARM, streams)
    for factor in (1.0, 2.0, 0.5):
        member.poll({s: factor * (20 + i) for i, s in enumerate(streams)})
    found = {entry.labels["stream"]: entry for entry in member.firing()}
    observed = [found[stream].annotations["observed"] for stream in streams]
    assert observed == [f"cpu={2 * (20 + i)}" for i in hosts]


def test_restored_peaks_are_followed_a_bounded_number_at_a_time(
    member: Member,
) -> None:
    streams = [f"host-{i}" for i in range(RELINKED + 44)]
    member.feed([*WARM, 20], streams)
    again = Member(member.bundle, store=member.store())
    again.next = member.next
    again.feed([200], streams)
    assert sum("score" in entry.annotations for entry in again.firing()) == RELINKED
    again.feed([300], streams)
    assert all("score" in entry.annotations for entry in again.firing())


# -- the state -------------------------------------------------------------------------


def test_after_a_restart_open_incidents_are_listed(member: Member) -> None:
    """No receiver needs the notification any more: only the decision row is left."""
    member.feed([*WARM, 30, 90])
    (before,) = member.firing()
    again = member.restarted()
    (entry,) = again.firing()
    assert entry.startsAt == before.startsAt
    assert entry.labels == before.labels
    assert entry.status == "firing"
    description = entry.annotations["description"]
    assert description.startswith("When it fired, cpu was 30 (expected 0).")
    margin = float(before.annotations["score"]) - float(before.annotations["threshold"])
    assert float(entry.annotations["peak_margin"]) >= margin
    assert "nan" not in str(entry)
    for name in ("score", "threshold", "at"):
        assert name not in entry.annotations


def test_after_a_restart_the_last_notification_is_listed(member: Member) -> None:
    first = Member(member.bundle, Routing(["hook"]))
    first.feed([*WARM, 30, 90])
    again = first.restarted()
    (entry,) = again.firing()
    assert entry.labels["severity"] == "critical"
    assert entry.annotations["observed"] == "cpu=30"
    assert scores(entry) == pytest.approx(15, abs=0.1)
    assert float(entry.annotations["peak_margin"]) > 30


def test_another_bundle_keeps_what_is_listed(member: Member, tmp_path: Path) -> None:
    member.feed([0, 0, 0, 30, 90])
    (before,) = member.firing()
    newer = fake_bundle(tmp_path / "newer", warm_up=4)
    setup = Setup(newer, OnnxEngine(newer), TUNING)
    pages = member.pipeline.pages
    rows = [setup.takeover.rows(page) for page in pages.rows(P)]
    carried = {P: Restored(tuple(rows), (), pages.applied[P])}
    member.pipeline.replace(setup, carried, 0.0)
    (after,) = member.firing()
    assert after.startsAt == before.startsAt
    assert after.annotations["observed"]
    assert "above its threshold" not in after.annotations["description"]
    member.feed([0] * 120)
    assert member.firing() == []
    (ended,) = member.resolved()
    assert ended.startsAt == before.startsAt


def test_a_restored_incident_is_followed_again(member: Member) -> None:
    member.feed([*WARM, 30, 90])
    again = member.restarted()
    again.feed([60])
    assert "score" not in again.firing()[0].annotations
    again.feed([300])
    (entry,) = again.firing()
    assert entry.annotations["observed"] == "cpu=300"
    again.feed([0] * 60)
    assert again.firing() == []
    (entry,) = again.resolved()
    assert entry.annotations["observed"] == "cpu=300"
    assert "lasted" in entry.annotations["description"]


def test_a_restored_incident_that_ends_below_its_peak_says_how_high_it_was(
    member: Member,
) -> None:
    member.feed([*WARM, 30, 90])
    again = member.restarted()
    again.feed([0] * 60)
    (entry,) = again.resolved()
    assert entry.endsAt > entry.startsAt
    assert "up to 3" in entry.annotations["description"]
    assert "nan" not in str(entry)


def test_a_partition_that_moved_away_is_not_listed(member: Member) -> None:
    member.pipeline.assign(Q, NEW)
    member.feed([*WARM, 30])
    member.feed([*WARM, 30], partition=Q)
    assert len(member.firing()) == 2
    member.pipeline.revoke(P)
    (entry,) = member.firing()
    assert member.log.alerts().not_listed == 0
    member.feed([90], partition=Q)
    (after,) = member.firing()
    assert scores(after) > scores(entry)
    member.pipeline.revoke(Q)
    assert member.firing() == []


def test_a_partition_that_comes_back_lists_its_incidents_once(member: Member) -> None:
    member.feed([*WARM, 30])
    store = member.store()
    again = Member(member.bundle, store=store)
    again.pipeline.revoke(P)
    assert again.firing() == []
    width = member.bundle.manifest.state_size
    restored = restore(member.bundle.digest, *load_last(store, P), width)
    for _ in range(2):
        again.pipeline.assign(P, restored)
        alerts = again.log.alerts()
        assert (len(alerts.firing), alerts.not_listed) == (1, 0)


# -- bounds ----------------------------------------------------------------------------


def test_incidents_beyond_the_bound_are_counted(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incident_log, "LISTED", 10)
    member = Member(bundle)
    streams = [f"host-{i}" for i in range(25)]
    member.feed([*WARM, 30], streams)
    alerts = member.log.alerts()
    assert (len(alerts.firing), alerts.not_listed) == (10, 15)
    assert len(member.log.alerts(3).firing) == 3
    again = member.restarted()
    alerts = again.log.alerts()
    assert (len(alerts.firing), alerts.not_listed) == (10, 15)
    member.feed([0] * 60, streams)
    alerts = member.log.alerts()
    assert (len(alerts.firing), alerts.not_listed) == (0, 0)
    assert len(alerts.resolved) == 25
    member.feed([60], streams)
    assert len(member.firing()) == 10


def test_the_newest_incident_is_listed_first(member: Member) -> None:
    member.feed(WARM, ["a", "b"])
    member.poll({"a": 30, "b": 0})
    member.poll({"a": 30, "b": 30})
    assert [entry.labels["stream"] for entry in member.firing()] == ["b", "a"]


def test_a_reader_on_another_thread_sees_whole_incidents(member: Member) -> None:
    found: list[AlertBody] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            found.extend(member.firing())

    reader = threading.Thread(target=read)
    reader.start()
    try:
        member.feed([*WARM, *[30 + 5.0 * i for i in range(50)]])
    finally:
        stop.set()
        reader.join()
    assert all(
        float(entry.annotations["observed"].removeprefix("cpu=")) / 2
        >= scores(entry) - 0.1
        for entry in found
    )
