"""From columns to alerts: what is scored, what is left out and why, and what a
checkpoint takes with it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.alerting.thresholds import effective_budget
from detector.consumer.checkpoints import make_durable
from detector.errors import RejectReason
from detector.events import (
    F32,
    F64,
    I64,
    AnomalyKind,
    Partition,
    Phase,
    Reason,
    RecordBatch,
    RejectedRecord,
    Severity,
)
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine, StepOutput
from detector.model.onnx_engine import OnnxEngine
from detector.notify.outbox import Outbox
from detector.notify.routes import Routing
from detector.pipeline.alerts import TOP_FEATURES
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored
from detector.state.decisions import fresh_decisions
from detector.state.row_memory import PAGE
from tests.fakes import MemoryStore, PipelineRecorder, columns, fake_bundle

P = Partition("metrics", 0)
Q = Partition("metrics", 1)
NEW = Restored((), (), None)


class House:
    def __init__(
        self,
        bundle: Bundle,
        max_streams: int = 1000,
        engine: Engine | None = None,
        cooldown: float = 0,
        asked_again: Engine | None = None,
    ) -> None:
        self.bundle = bundle
        self.outbox = Outbox(Routing(["hook"]))
        self.metrics = Metrics()
        self.recorder = PipelineRecorder()
        self.pipeline = build_pipeline(
            bundle,
            engine or OnnxEngine(bundle),
            AlertTuning(cooldown_ticks=cooldown, min_gap=0),
            observer=self.recorder,
            outbox=self.outbox,
            metrics=self.metrics,
            max_streams=max_streams,
            probe_engine=asked_again,
        )
        self.pipeline.assign(P, NEW)

    def value(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0

    def feed(self, values: list[float], stream: str = "a", first: int = 0) -> None:
        """One record a tick, one feature of the fake's two."""
        ticks = [60.0 * (first + i + 1) for i in range(len(values))]
        self.pipeline.process(
            [
                columns(
                    [stream] * len(values), ticks, [[v, 0] for v in values], first=first
                )
            ]
        )

    def store(self) -> MemoryStore:
        store = MemoryStore()
        capture = self.pipeline.checkpoints.capture(P)
        assert capture is not None
        make_durable(store, capture)
        return store

    def restored_from(self, store: MemoryStore) -> House:
        again = House(self.bundle)
        again.pipeline.assign(
            P,
            restore(
                self.bundle.digest, *store.load(P), self.bundle.manifest.state_size
            ),
        )
        return again


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return fake_bundle(tmp_path)


@pytest.fixture
def house(bundle: Bundle) -> House:
    return House(bundle)


def test_a_score_is_the_graphs_with_the_state_carried(house: House) -> None:
    house.feed([2, 2, 2])
    # mean over two features of |x - running mean|
    assert list(house.recorder.scores.values()) == pytest.approx([1.0, 0.9, 0.81])


def test_several_points_of_a_stream_in_one_poll_are_scored_in_their_order(
    bundle: Bundle,
) -> None:
    one = House(bundle)
    many = House(bundle)
    values = [float(v) for v in range(12)]
    one.feed(values)
    for i, value in enumerate(values):
        many.feed([value], first=i)
    assert one.recorder.scores == pytest.approx(many.recorder.scores)
    assert one.recorder.phases == many.recorder.phases


@pytest.mark.parametrize(
    ("second", "reason"), [(60.0, RejectReason.DUPLICATE), (59.0, RejectReason.LATE)]
)
def test_a_late_record_is_counted_and_not_scored(
    house: House, second: float, reason: RejectReason
) -> None:
    house.pipeline.process(
        [columns(["a", "a", "b", "a"], [60.0, second, 59.0, 120.0], [[1, 1]] * 4)]
    )
    assert sorted(house.recorder.scores) == [0, 2, 3]
    assert house.value("detector_rejected_total", reason=reason.value) == 1
    assert house.value("detector_records_total") == 4
    assert house.value("detector_scored_total") == 3
    (letter,) = house.recorder.rejects
    assert (letter.offset, letter.key) == (1, b"a")
    assert "60" in letter.detail or "59" in letter.detail


def test_a_new_stream_beyond_the_maximum_is_rejected_and_the_others_go_on(
    bundle: Bundle,
) -> None:
    house = House(bundle, max_streams=PAGE)
    names = [f"s{i}" for i in range(PAGE + 1)]
    house.pipeline.process([columns(names, [60.0] * len(names), [[1, 1]] * len(names))])
    house.pipeline.process(
        [columns(["s0", "new"], [120.0] * 2, [[1, 1]] * 2, first=1000)]
    )
    assert house.value("detector_rejected_total", reason="capacity") == 2
    assert house.value("detector_scored_total") == PAGE + 1
    assert house.value("detector_streams") == PAGE
    assert "DETECTOR_MODEL__MAX_STREAMS" in house.recorder.rejects[0].detail


def test_what_the_decoder_rejected_is_counted_kept_and_passed_by(house: House) -> None:
    rejected = RejectedRecord(
        P, 1, RejectReason.MALFORMED, "it is not one JSON object", b"a", b"{"
    )
    house.pipeline.process(
        [
            replace(
                columns(["a"], [60.0], [[1, 1]]),
                next_offset=2,
                rejected=[rejected],
                unknown_fields=3,
            )
        ]
    )
    assert house.recorder.rejects == [rejected]
    assert house.pipeline.checkpoints.applied == {P: 2}
    assert house.value("detector_records_total") == 2
    assert house.value("detector_unknown_fields_total") == 3


def test_a_poll_of_nothing_but_bad_records_moves_on(house: House) -> None:
    bad = [RejectedRecord(P, k, RejectReason.EMPTY, "no value") for k in range(5)]
    house.pipeline.process(
        [
            replace(
                columns([], [], np.empty((0, 2)).tolist()), next_offset=5, rejected=bad
            )
        ]
    )
    assert house.pipeline.checkpoints.applied == {P: 5}


def test_records_of_a_partition_that_is_not_owned_are_left_to_their_owner(
    house: House,
) -> None:
    house.pipeline.process([columns(["a"], [60.0], [[1, 1]], partition=Q)])
    assert house.value("detector_records_total") == 0
    assert Q not in house.pipeline.checkpoints.applied


def test_an_alert_says_what_was_seen_expected_and_what_contributed_most(
    house: House,
) -> None:
    house.feed([0, 0, 0, 0, 40, 40])
    (alert,) = house.recorder.alerts
    assert (alert.stream, alert.reason, alert.severity) == (
        "a",
        Reason.FIRED,
        Severity.CRITICAL,
    )
    assert (alert.starts_at, alert.at, alert.ends_at) == (300.0, 300.0, None)
    assert alert.score == pytest.approx(20)
    assert [(d.name, d.observed, d.contribution) for d in alert.deviations] == [
        ("cpu", 40.0, 1.0),
        ("mem", 0.0, 0.0),
    ]
    assert alert.deviations[0].expected == pytest.approx(0)


def test_an_alert_names_the_top_features_and_no_missing_one(tmp_path: Path) -> None:
    names = tuple("abcdefgh")
    house = House(fake_bundle(tmp_path, names, warm_up=0))
    values = [np.nan, 1, 9, 2, 8, 3, 7, 30]
    house.pipeline.process([columns(["s", "s"], [60.0, 120.0], [values, values])])
    (alert,) = house.recorder.alerts
    assert [d.name for d in alert.deviations] == ["h", "c", "e", "g", "f"]
    assert len(alert.deviations) == TOP_FEATURES


def test_an_incident_is_counted_while_it_is_open(house: House) -> None:
    house.feed([0, 0, 0, 0, 40, 40])
    assert house.value("detector_streams_firing") == 1
    assert (
        house.value("detector_alerts_total", status="firing", severity="critical") == 1
    )
    house.feed([4] * 8, first=6)
    assert [a.reason for a in house.recorder.alerts] == [Reason.FIRED, Reason.RECOVERED]
    assert house.value("detector_streams_firing") == 0


def test_an_open_incident_is_counted_after_a_restart_too(house: House) -> None:
    house.feed([0, 0, 0, 0, 40, 40])
    again = house.restored_from(house.store())
    assert again.value("detector_streams_firing") == 1
    again.feed([4] * 8, first=6)
    assert again.value("detector_streams_firing") == 0
    again.pipeline.revoke(P)
    assert again.value("detector_streams_firing") == 0


def test_a_restored_pipeline_goes_on_with_the_same_scores(house: House) -> None:
    rng = np.random.default_rng(1)
    values = (rng.normal(size=40) * 3).tolist()
    house.feed(values[:25])
    again = house.restored_from(house.store())
    house.feed(values[25:], first=25)
    again.feed(values[25:], first=25)
    later = {k: v for k, v in house.recorder.scores.items() if k >= 25}
    assert again.recorder.scores == later
    assert again.recorder.phases == {k: house.recorder.phases[k] for k in later}


def test_records_that_a_restored_page_has_seen_are_skipped_and_counted(
    house: House,
) -> None:
    house.feed([1, 2, 3, 4])
    again = house.restored_from(house.store())
    again.feed([1, 2, 3, 4, 5])
    assert list(again.recorder.scores) == [4]
    assert again.value("detector_skipped_total") == 4
    assert again.value("detector_rejected_total", reason="late") == 0


def test_only_pages_that_changed_are_captured_again(house: House) -> None:
    names = [f"s{i}" for i in range(PAGE + 1)]
    house.pipeline.process([columns(names, [60.0] * len(names), [[1, 1]] * len(names))])
    first = house.pipeline.checkpoints.capture(P)
    assert first is not None
    assert [p.number for p in first.pages()] == [0, 1]
    house.pipeline.process([columns(["s0"], [120.0], [[1, 1]], first=len(names))])
    second = house.pipeline.checkpoints.capture(P)
    assert second is not None
    assert [p.number for p in second.pages()] == [0]
    assert {number: stamp.offset for number, stamp in second.head.stamps.items()} == {
        0: PAGE + 2,
        1: PAGE + 1,
    }
    third = house.pipeline.checkpoints.capture(P)
    assert third is not None
    assert third.changed == ()


def test_a_capture_that_was_not_written_is_captured_again(house: House) -> None:
    house.feed([1])
    capture = house.pipeline.checkpoints.capture(P)
    assert capture is not None
    house.pipeline.checkpoints.uncaptured(capture)
    again = house.pipeline.checkpoints.capture(P)
    assert again is not None
    assert [p.number for p in again.pages()] == [0]


def test_a_partition_nothing_was_read_from_has_nothing_to_write(house: House) -> None:
    assert house.pipeline.checkpoints.capture(P) is None


def test_a_page_that_stays_clean_is_not_read_again_however_often_it_restarts(
    house: House,
) -> None:
    names = [f"s{i}" for i in range(PAGE + 1)]  # s256 is alone on page 1
    house.pipeline.process([columns(names, [60.0] * len(names), [[1, 1]] * len(names))])
    store = house.store()
    offset = len(names)
    for restart in range(4):
        again = house.restored_from(store)
        assert again.pipeline.checkpoints.applied == {P: offset}
        again.pipeline.process(
            [columns(["s256"], [120.0 + restart], [[1, 1]], first=offset)]
        )
        offset += 1
        capture = again.pipeline.checkpoints.capture(P)
        assert capture is not None
        assert [p.number for p in capture.pages()] == [1]
        make_durable(store, capture)


def test_undelivered_alerts_are_in_their_page_until_they_are_settled(
    house: House,
) -> None:
    house.feed([0, 0, 0, 0, 40, 40])
    store = house.store()
    assert [(w.alert, w.pending_receivers) for w in store.pages[P][0].alerts] == [
        (a, ("hook",)) for a in house.recorder.alerts
    ]
    again = house.restored_from(store)
    parcel = again.outbox.take("hook", timeout=0)
    assert parcel is not None
    assert parcel.post.alerts == (house.recorder.alerts[0],)
    again.outbox.settle(parcel)
    capture = again.pipeline.checkpoints.capture(P)
    assert capture is not None
    assert [p.alerts for p in capture.pages()] == [()]


class Breaking:
    """The engine of a graph that returns what is not a number for an observation of
    666. Implements Engine.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._runtime = OnnxEngine(bundle)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        step = self._runtime.step(x, clock, state)
        broken = (x == 666).any(axis=1)
        score = step.score.copy()
        after = step.next_state.copy()
        score[broken] = np.nan
        after[broken] = np.nan
        return StepOutput(score, step.expected, step.contribution, after)


def test_a_row_whose_score_is_no_number_starts_again_and_its_neighbour_does_not_notice(
    bundle: Bundle,
) -> None:
    house = House(bundle, engine=Breaking(bundle))
    house.pipeline.process([columns(["a", "b"], [60.0, 60.0], [[1, 1], [1, 1]])])
    house.pipeline.process(
        [columns(["a", "b"], [120.0, 120.0], [[666, 1], [1, 1]], first=2)]
    )
    house.pipeline.process(
        [columns(["a", "b"], [180.0, 180.0], [[1, 1], [1, 1]], first=4)]
    )
    assert house.value("detector_state_resets_total", cause="not_finite") == 1
    assert (house.recorder.scores[4], house.recorder.scores[5]) == pytest.approx(
        (1.0, 0.81)
    )
    house.pipeline.process(
        [columns(["a", "b"], [240.0, 240.0], [[1, 1], [1, 1]], first=6)]
    )
    assert (house.recorder.phases[6], house.recorder.phases[7]) == (
        Phase.WARMING,
        Phase.OK,
    )


def test_an_open_incident_ends_even_if_its_row_starts_again(bundle: Bundle) -> None:
    house = House(bundle, engine=Breaking(bundle))
    house.feed([0, 0, 0, 0, 40, 40, 666, *[0] * 12])
    assert [a.reason for a in house.recorder.alerts] == [Reason.FIRED, Reason.RECOVERED]
    assert house.value("detector_streams_firing") == 0


class Watching:
    """Keeps the clocks a graph was given. Implements Engine."""

    def __init__(self, bundle: Bundle) -> None:
        self._runtime = OnnxEngine(bundle)
        self.clocks: list[list[float]] = []

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        self.clocks += clock.tolist()
        return self._runtime.step(x, clock, state)


def test_the_graph_is_told_how_long_ago_the_previous_point_was_and_the_time_of_day_and_week(
    bundle: Bundle,
) -> None:
    engine = Watching(bundle)
    house = House(bundle, engine=engine)
    monday = 1_704_067_200.0
    house.pipeline.process(
        [columns(["a", "a"], [monday + 3600, monday + 86400 + 90], [[1, 1]] * 2)]
    )
    assert engine.clocks == [[60.0, 3600.0, 0.0], [82890.0, 90.0, 1.0]]


def test_a_trained_stream_may_alert_at_once(tmp_path: Path) -> None:
    house = House(fake_bundle(tmp_path, trained={"known": [10, 10]}))
    house.pipeline.process(
        [columns(["known", "new"] * 2, [60.0, 60.0, 120.0, 120.0], [[40, 40]] * 4)]
    )
    assert [a.stream for a in house.recorder.alerts] == ["known"]


def test_a_revoked_partition_takes_its_notifications_to_its_next_owner(
    house: House,
) -> None:
    house.feed([0, 0, 0, 0, 40, 40])
    house.pipeline.revoke(P)
    assert house.pipeline.checkpoints.applied == {}
    assert house.value("detector_streams") == 0
    assert len(house.outbox) == 0


def test_a_wave_larger_than_a_batch_is_scored_whole(bundle: Bundle) -> None:
    house = House(bundle, max_streams=10_000)
    names: list[str | bytes] = [f"s{i}" for i in range(5000)]
    times: F64 = np.full(5000, 60.0)
    offsets: I64 = np.arange(5000)
    house.pipeline.process(
        [RecordBatch(P, names, offsets, times, np.ones((5000, 2), np.float32), 5000)]
    )
    assert len(house.recorder.scores) == 5000
    assert set(house.recorder.scores.values()) == {1.0}


def test_a_stream_on_two_partitions_of_a_topic_is_counted_once_and_is_two_rows(
    house: House,
) -> None:
    other = Partition(P.topic, P.number + 1)
    elsewhere = Partition("another", P.number)
    for partition in (other, elsewhere):
        house.pipeline.assign(partition, Restored((), (), 0))
    for partition in (P, other, elsewhere):
        for tick in (0, 1):
            house.pipeline.process(
                [
                    columns(
                        ["a"],
                        [60.0 * tick + 60.0],
                        [[1, 1]],
                        first=tick,
                        partition=partition,
                    )
                ]
            )
    assert house.value("detector_split_streams_total") == 1
    assert house.value("detector_streams") == 3


def test_what_is_rare_on_a_slow_stream_is_commoner_on_a_fast_one(
    bundle: Bundle,
) -> None:
    pipeline = House(bundle).pipeline
    row = fresh_decisions(1)[0]
    rates = []
    for tick in (60.0, 6.0):
        row["tick"] = tick
        rates.append(pipeline.alerts.incident_rate(8.0, row))
    assert effective_budget(rates[1]) == pytest.approx(
        10 * effective_budget(rates[0]), rel=0.01
    )


class Restless:
    """The engine of a graph that scores jumps of the first feature, for how many points
    it stands still, and moves without a rest.

    It expects one more than the last value. Implements Engine.
    """

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        last, run = state.T
        run = np.where(
            x[:, 0] == last, np.maximum(run, 0) + 1, np.minimum(run, 0) - 1
        ).astype(np.float32)
        score = np.abs(x[:, 0] - last) + np.maximum(run, 0) + 10 * (run < -8)
        share = np.tile(np.array([1, 0], np.float32), (len(x), 1))
        return StepOutput(
            score,
            np.stack([last + 1, x[:, 1]], axis=1),
            share,
            np.stack([x[:, 0], run], axis=1),
        )


@pytest.mark.parametrize(
    ("tail", "odd"),
    [
        ([1] * 8, AnomalyKind.FLATLINE),
        ([1, 1, 40], AnomalyKind.VALUE),
        ([1, 2, 1, 2], AnomalyKind.TREND),
    ],
)
def test_an_alert_says_what_is_odd_where_it_is_not_the_value(
    bundle: Bundle, tail: list[float], odd: AnomalyKind
) -> None:
    engine = Restless()
    house = House(bundle, engine=engine, asked_again=engine)
    silent = House(bundle, engine=engine)
    for one in (house, silent):
        one.feed([1, 2, 1, 2, 1, 2, *tail])
    assert [d.kind for d in house.recorder.alerts[0].deviations] == [
        odd,
        AnomalyKind.VALUE,
    ]
    assert {d.kind for d in silent.recorder.alerts[0].deviations} == {AnomalyKind.VALUE}
    assert house.recorder.scores == silent.recorder.scores
    # what it was asked again leaves no trace
    assert np.array_equal(house.pipeline.table.states, silent.pipeline.table.states)
