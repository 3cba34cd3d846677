"""What the daemon would have scored and raised over a file, at several false-alarm
budgets, in one run of the graph.

Theory of operation. The path is the daemon's own:
:class:`detector.pipeline.pipeline.Pipeline`, composed as ``detector replay`` composes
it, so that the alerts are those that ``replay --alerts`` writes, fed side by side as it
feeds its rows (:mod:`detector.replay.chunks`). One pipeline for each budget sees the
same polls; the first one runs the graph, the others are handed its answers, since a
budget moves levels and no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector.data.readers import read_data
from detector.data.tables import Table
from detector.events import F32, F64, Alert
from detector.model.bundle import Bundle
from detector.model.engine import StepOutput
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.replay.chunks import Chunk
from detector.replay.offline import offline_pipeline
from detector.settings.alerting import AlertingSettings


@dataclass(frozen=True, slots=True)
class StreamRows:
    """One stream's rows in the order of the file: times float64 [n], values float32 [n,
    F] (NaN missing).

    ``whole`` is the stream of DATA that it is a metric of, where each metric is a
    stream; elsewhere its own name.
    """

    name: str
    whole: str
    times: F64
    values: F32

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Incident:
    """From the alert that fired to the one that resolved it; ``ended_at`` is None where
    it still fired at the end of the data.
    """

    stream: str
    starts_at: float
    fired_at: float
    ended_at: float | None
    score: float
    level: float
    metrics: tuple[str, ...]

    def until(self, last: float) -> float:
        """When it ended, in data that ends at ``last``."""
        return last if self.ended_at is None else self.ended_at


@dataclass(frozen=True, slots=True)
class Backtest:
    """One track's outcome: score float32 [n] (NaN of a dropped row), expected and
    contribution float32 [n, F], and for each budget the level in force float32 [n] and
    the incidents.
    """

    scores: F32
    expected: F32
    contribution: F32
    levels: tuple[F32, ...]
    incidents: tuple[tuple[Incident, ...], ...]


def tables_for(data: Path, *bundles: Bundle) -> list[Table]:
    """DATA as bundles of one kind take it: each metric a stream, or the features of all
    of them. Raises DataError if one is missing.
    """
    features = dict.fromkeys(f for bundle in bundles for f in bundle.feature_names)
    return read_data(data, list(features), bundles[0].manifest.each_metric)


def tracks(tables: Sequence[Table], features: Sequence[str]) -> list[StreamRows]:
    """Every stream of DATA, in the order in which they come."""
    order = [tables[0].features.index(f) for f in features]
    parts: dict[str, list[tuple[F64, F32]]] = {}
    wholes: dict[str, str] = {}
    for table in tables:
        wholes.update(zip(table.streams, table.wholes, strict=True))
        finite = table.finite
        for name, own in table.by_stream():
            parts.setdefault(name, []).append((table.times[own], finite[own][:, order]))
    joined = ((name, zip(*pieces, strict=True)) for name, pieces in parts.items())
    return [
        StreamRows(name, wholes[name], *(np.concatenate(column) for column in columns))
        for name, columns in joined
    ]


def shared(of: Sequence[StreamRows], most: int) -> list[list[StreamRows]]:
    """At most so many shares of about as many rows each; no stream is parted, nor are
    its metrics.
    """
    wholes: dict[str, list[StreamRows]] = {}
    for track in of:
        wholes.setdefault(track.whole, []).append(track)
    shares: list[list[StreamRows]] = [[] for _ in range(min(most, len(wholes)))]
    sizes = [0] * len(shares)
    for together in sorted(
        wholes.values(), key=lambda whole: sum(map(len, whole)), reverse=True
    ):
        least = sizes.index(min(sizes))
        shares[least] += together
        sizes[least] += sum(map(len, together))
    return [s for s in shares if s]


class _Recorder(NullObserver):
    """Runs the graph, keeps a poll's answers for the other budgets, and files them by
    row. Implements Engine and Observer.
    """

    def __init__(self, runtime: OnnxEngine, stretch: Chunk, width: int) -> None:
        self._runtime = runtime
        self._stretch = stretch
        rows = len(stretch)
        self.steps: list[StepOutput] = []
        self.alerts: list[Alert] = []
        self.scores = np.full(rows, np.nan, np.float32)
        self.levels = np.full(rows, np.nan, np.float32)
        self.expected = np.full((rows, width), np.nan, np.float32)
        self.contribution = np.zeros((rows, width), np.float32)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        self.steps.append(self._runtime.step(x, clock, state))
        return self.steps[-1]

    def scored(self, batch: ScoredBatch) -> None:
        rows = self._stretch.rows(batch.offsets)
        self.scores[rows] = batch.step.score
        self.levels[rows] = batch.decisions.threshold
        self.contribution[rows] = batch.step.contribution
        self.expected[rows] = batch.step.expected

    def alerted(self, alert: Alert) -> None:
        self.alerts.append(alert)


class _Again(NullObserver):
    """Hands out what another engine answered to the same questions, and files the
    levels in force. Implements Engine and Observer.
    """

    def __init__(self, stretch: Chunk) -> None:
        self._stretch = stretch
        self.answers: Iterator[StepOutput] = iter(())
        self.alerts: list[Alert] = []
        self.levels = np.full(len(stretch), np.nan, np.float32)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        return next(self.answers)

    def scored(self, batch: ScoredBatch) -> None:
        self.levels[self._stretch.rows(batch.offsets)] = batch.decisions.threshold

    def alerted(self, alert: Alert) -> None:
        self.alerts.append(alert)


def backtest(
    bundle: Bundle,
    of: Sequence[StreamRows],
    alerting: Sequence[AlertingSettings],
    tell: Callable[[int], None],
    model: ModelSettings | None = None,
) -> list[Backtest]:
    """``alerting``: the settings at each budget. ``tell`` is told how many rows were
    done since it was last told; ``model`` says where streams live, if not where the
    bundle's do.
    """
    stretch = _laid(of)
    recorder = _Recorder(OnnxEngine(bundle), stretch, len(bundle.manifest.features))
    repeaters = [_Again(stretch) for _ in alerting[1:]]
    first = offline_pipeline(
        bundle, recorder, alerting[0].tuning(), recorder, model=model
    )
    others = [
        offline_pipeline(bundle, repeater, settings.tuning(), repeater, model=model)
        for repeater, settings in zip(repeaters, alerting[1:], strict=True)
    ]
    done = 0
    for columns in stretch.polls():
        first.process([columns])
        for repeater, pipeline in zip(repeaters, others, strict=True):
            repeater.answers = iter(recorder.steps)
            pipeline.process([columns])
        recorder.steps.clear()
        tell(columns.next_offset - done)
        done = columns.next_offset
    raised = [recorder.alerts, *(r.alerts for r in repeaters)]
    found = [_incidents(alerts) for alerts in raised]
    in_force = [recorder.levels, *(r.levels for r in repeaters)]
    ends = np.cumsum([len(t) for t in of]).tolist()
    return [
        Backtest(
            recorder.scores[own],
            recorder.expected[own],
            recorder.contribution[own],
            tuple(levels[own] for levels in in_force),
            tuple(tuple(f.get(t.name, ())) for f in found),
        )
        for t, own in zip(
            of,
            (slice(end - len(t), end) for t, end in zip(of, ends, strict=True)),
            strict=True,
        )
    ]


def _laid(of: Sequence[StreamRows]) -> Chunk:
    """The rows of all tracks, end to end."""
    who = np.repeat(np.arange(len(of)), [len(t) for t in of])
    return Chunk(
        [t.name for t in of],
        who,
        np.concatenate([t.times for t in of]),
        np.concatenate([t.values for t in of]),
    )


def _incidents(raised: Sequence[Alert]) -> dict[str, list[Incident]]:
    """Alerts, in the order in which they were raised, as incidents of each stream."""
    found: dict[str, dict[float, Incident]] = {}
    for alert in raised:
        own = found.setdefault(alert.stream, {})
        known = own.get(alert.starts_at)
        if alert.firing and known is None:
            metrics = tuple(d.name for d in alert.deviations if d.contribution > 0)
            own[alert.starts_at] = Incident(
                alert.stream,
                alert.starts_at,
                alert.at,
                None,
                alert.score,
                alert.threshold,
                metrics,
            )
        elif not alert.firing and known is not None:
            own[alert.starts_at] = Incident(
                known.stream,
                known.starts_at,
                known.fired_at,
                alert.ends_at,
                known.score,
                known.level,
                known.metrics,
            )
    return {stream: list(own.values()) for stream, own in found.items()}


def at_budgets(
    alerting: AlertingSettings, budgets: Sequence[float]
) -> list[AlertingSettings]:
    """The same settings with each of the budgets, in false alarms a stream-week."""
    return [
        AlertingSettings.model_validate(
            {**alerting.model_dump(), "false_alarms_per_week": b}
        )
        for b in budgets
    ]
