"""What the daemon would have scored and raised over a file, at several false-alarm
budgets, in one run of the graph.

Theory of operation. The path is the daemon's own
:class:`~detector.pipeline.pipeline.Pipeline`, composed as ``detector replay`` composes
it and fed in the same order (:mod:`detector.replay.chunks`). So the alerts are those
that ``replay --alerts`` writes. One pipeline for each budget sees the same polls. The
first one runs the graph; the others receive its answers, because a budget moves
thresholds and no score.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.choose_reader import read_data
from detector.data.read_options import ReadOptions
from detector.data.table import Table
from detector.events import F32, F64, Alert, Reason, Severity
from detector.model.bundle import Bundle
from detector.model.engine import Engine, StepOutput
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.replay.chunks import Chunk
from detector.replay.offline import offline_pipeline
from detector.settings.alerting import AlertingSettings

#: Receives how many rows were done since its last call.
ReportRows = Callable[[int], None]

_DEFAULT = ReadOptions()


@dataclass(frozen=True, slots=True)
class StreamRows:
    """One stream's rows, in the order of the file.

    Attributes:
        whole: the stream of DATA that it is a metric of, if each metric is a stream;
            else its own name.
        times: float64 [n].
        values: float64 [n, F], NaN where missing.
    """

    name: str
    whole: str
    times: F64
    values: F64

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, slots=True)
class Incident:
    """From the alert that fired to the one that resolved it; times in epoch seconds.

    Attributes:
        ended_at: None if it still fired at the end of the data.
        metrics: those that contributed when it fired, the largest contribution first.
        critical_at: when it became critical; None if it never did.
        ended_as: RECOVERED or ACCEPTED; None if it still fired at the end of the data.
    """

    stream: str
    starts_at: float
    fired_at: float
    ended_at: float | None
    score: float
    threshold: float
    metrics: tuple[str, ...]
    critical_at: float | None = None
    ended_as: Reason | None = None

    def until(self, last: float) -> float:
        """When it ended, in data that ends at ``last``."""
        return last if self.ended_at is None else self.ended_at

    def severity(self, moment: float) -> Severity:
        """The one that it had reached by ``moment``, once it had fired."""
        is_critical = self.critical_at is not None and self.critical_at <= moment
        return Severity.CRITICAL if is_critical else Severity.WARNING


@dataclass(frozen=True, slots=True)
class Backtest:
    """What became of one stream.

    Attributes:
        scores: float32 [n], NaN for a dropped row.
        observed: float32 [n, F], what was scored: the rates of counters.
        expected, contribution: float32 [n, F].
        thresholds: for each budget, the threshold in force, float32 [n].
        incidents: for each budget.
    """

    scores: F32
    observed: F32
    expected: F32
    contribution: F32
    thresholds: tuple[F32, ...]
    incidents: tuple[tuple[Incident, ...], ...]


def tables_for(
    data: Path, *bundles: Bundle, options: ReadOptions = _DEFAULT
) -> list[Table]:
    """DATA as bundles of one kind take it: each metric a stream, or all their features.

    Raises DataError for a feature that is not there.
    """
    names: dict[str, None] = {}
    for bundle in bundles:
        names |= dict.fromkeys(bundle.feature_names)
    each_metric = bundles[0].manifest.each_metric
    return read_data(data, list(names), each_metric, options)


def rows_by_stream(
    tables: Sequence[Table], features: Sequence[str]
) -> list[StreamRows]:
    """Every stream of DATA, in the order of its first row."""
    order = [tables[0].features.index(name) for name in features]
    times: dict[str, list[F64]] = {}
    values: dict[str, list[F64]] = {}
    wholes: dict[str, str] = {}
    for table in tables:
        wholes.update(zip(table.streams, table.wholes, strict=True))
        finite = table.finite_raw
        for name, own in table.by_stream():
            times.setdefault(name, []).append(table.times[own])
            values.setdefault(name, []).append(finite[own][:, order])
    return [
        StreamRows(
            name=name,
            whole=wholes[name],
            times=np.concatenate(times[name]),
            values=np.concatenate(values[name]),
        )
        for name in times
    ]


def shares(streams: Sequence[StreamRows], most: int) -> list[list[StreamRows]]:
    """At most ``most`` shares of about as many rows each.

    Neither a stream nor the metrics of one stream are parted.
    """
    wholes: dict[str, list[StreamRows]] = {}
    for stream in streams:
        wholes.setdefault(stream.whole, []).append(stream)
    found: list[list[StreamRows]] = [[] for _ in range(min(most, len(wholes)))]
    sizes = [0] * len(found)
    largest_first = sorted(wholes.values(), key=_rows, reverse=True)
    for together in largest_first:
        least = sizes.index(min(sizes))
        found[least] += together
        sizes[least] += _rows(together)
    return [share for share in found if share]


def _rows(streams: Sequence[StreamRows]) -> int:
    return sum(map(len, streams))


class _Recorder(NullObserver):
    """Runs the graph, keeps a poll's answers for the other budgets, and files them by
    row. Implements Engine and Observer.
    """

    def __init__(self, engine: Engine, chunk: Chunk, features: int) -> None:
        self._engine = engine
        self._chunk = chunk
        rows = len(chunk)
        self.steps: list[StepOutput] = []
        self.alerts: list[Alert] = []
        self.scores = np.full(rows, np.nan, np.float32)
        self.thresholds = np.full(rows, np.nan, np.float32)
        self.observed = np.full((rows, features), np.nan, np.float32)
        self.expected = np.full((rows, features), np.nan, np.float32)
        self.contribution = np.zeros((rows, features), np.float32)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        output = self._engine.step(x, clock, state)
        self.steps.append(output)
        return output

    def scored(self, batch: ScoredBatch) -> None:
        rows = self._chunk.rows(batch.offsets)
        self.scores[rows] = batch.step.score
        self.thresholds[rows] = batch.decisions.threshold
        self.contribution[rows] = batch.step.contribution
        self.expected[rows] = batch.step.expected
        self.observed[rows] = batch.x

    def alerted(self, alert: Alert) -> None:
        self.alerts.append(alert)


class _Repeater(NullObserver):
    """Answers as another engine answered the same questions, and files the thresholds
    in force. Implements Engine and Observer.
    """

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self.answers: Iterator[StepOutput] = iter(())
        self.alerts: list[Alert] = []
        self.thresholds = np.full(len(chunk), np.nan, np.float32)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        return next(self.answers)

    def scored(self, batch: ScoredBatch) -> None:
        rows = self._chunk.rows(batch.offsets)
        self.thresholds[rows] = batch.decisions.threshold

    def alerted(self, alert: Alert) -> None:
        self.alerts.append(alert)


def backtest(
    bundle: Bundle,
    streams: Sequence[StreamRows],
    alerting: Sequence[AlertingSettings],
    report_rows: ReportRows,
    model: ModelSettings | None = None,
) -> list[Backtest]:
    """Each stream's outcome; ``alerting`` are the settings at each budget.

    ``model`` says which time zones the streams have, if not those of the bundle.
    """
    chunk = _joined(streams)
    features = len(bundle.manifest.features)
    engine = OnnxEngine(bundle)
    recorder = _Recorder(engine, chunk, features)
    repeaters = [_Repeater(chunk) for _ in alerting[1:]]
    watched: list[_Recorder | _Repeater] = [recorder, *repeaters]
    first, *others = (
        offline_pipeline(
            bundle,
            watcher,
            settings.tuning(),
            watcher,
            model=model,
            probe_engine=engine,
        )
        for watcher, settings in zip(watched, alerting, strict=True)
    )
    done = 0
    for records in chunk.polls():
        first.process([records])
        for repeater, pipeline in zip(repeaters, others, strict=True):
            repeater.answers = iter(recorder.steps)
            pipeline.process([records])
        recorder.steps.clear()
        report_rows(records.next_offset - done)
        done = records.next_offset
    return _outcomes(streams, recorder, repeaters)


def _joined(streams: Sequence[StreamRows]) -> Chunk:
    """The rows of all streams, end to end."""
    numbers = np.repeat(np.arange(len(streams)), [len(s) for s in streams])
    return Chunk(
        [s.name for s in streams],
        numbers,
        np.concatenate([s.times for s in streams]),
        np.concatenate([s.values for s in streams]),
    )


def _outcomes(
    streams: Sequence[StreamRows], recorder: _Recorder, repeaters: Sequence[_Repeater]
) -> list[Backtest]:
    """What was recorded, by stream and budget."""
    budgets: list[_Recorder | _Repeater] = [recorder, *repeaters]
    incidents = [_incidents(budget.alerts) for budget in budgets]
    found = []
    start = 0
    for stream in streams:
        own = slice(start, start + len(stream))
        start = own.stop
        one = Backtest(
            scores=recorder.scores[own],
            observed=recorder.observed[own],
            expected=recorder.expected[own],
            contribution=recorder.contribution[own],
            thresholds=tuple(budget.thresholds[own] for budget in budgets),
            incidents=tuple(tuple(i.get(stream.name, ())) for i in incidents),
        )
        found.append(one)
    return found


def _incidents(alerts: Sequence[Alert]) -> dict[str, list[Incident]]:
    """Alerts, in the order in which they were raised, as incidents of each stream."""
    found: dict[str, dict[float, Incident]] = {}
    for alert in alerts:
        own = found.setdefault(alert.stream, {})
        known = own.get(alert.starts_at)
        if alert.firing and known is None:
            own[alert.starts_at] = _opened(alert)
        elif known is not None:
            own[alert.starts_at] = _followed(known, alert)
    return {stream: list(own.values()) for stream, own in found.items()}


def _opened(alert: Alert) -> Incident:
    metrics = tuple(d.name for d in alert.deviations if d.contribution > 0)
    is_critical = alert.severity is Severity.CRITICAL
    return Incident(
        stream=alert.stream,
        starts_at=alert.starts_at,
        fired_at=alert.at,
        ended_at=None,
        score=alert.score,
        threshold=alert.threshold,
        metrics=metrics,
        critical_at=alert.at if is_critical else None,
    )


def _followed(incident: Incident, alert: Alert) -> Incident:
    """The incident after a later alert about it."""
    if not alert.firing:
        return replace(incident, ended_at=alert.ends_at, ended_as=alert.reason)
    if alert.severity is Severity.CRITICAL and incident.critical_at is None:
        return replace(incident, critical_at=alert.at)
    return incident


def at_budgets(
    alerting: AlertingSettings, budgets: Sequence[float]
) -> list[AlertingSettings]:
    """The same settings with each of the budgets, in false alarms a stream-week."""
    of_fleet = {"false_alarms_per_week_total", "fleet_streams"}
    fields = alerting.model_dump(exclude=of_fleet)
    return [
        AlertingSettings.model_validate({**fields, "false_alarms_per_week": budget})
        for budget in budgets
    ]
