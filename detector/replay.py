"""``detector replay``: the daemon's pipeline over a file; what would have been raised, point by point."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from detector.alerting.config import AlertingSettings
from detector.alerting.decide import Decided, fresh
from detector.alerting.explain import Point, explained
from detector.alerting.outbox import Outbox
from detector.alerting.payload import alert_body, timestamp
from detector.alerting.rates import Rates, rates
from detector.deadletter import NoDeadLetters
from detector.errors import ConfigError, DataError, RejectReason
from detector.events import F32, F64, I64, Alert, Partition, Phase, Reason
from detector.ingest.source_file import FileSource
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.config import ModelSettings
from detector.model.runtime import Runtime, Step
from detector.pipeline import Pipeline
from detector.ports import Engine, ScoreSink
from detector.recovery.snapshot import Restored

_NAMED = 5  # streams, of those that may have been meant


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay came to; ``dropped``: rows that were not scored and are not merely without a value, by reason."""

    rows: int
    scored: int
    dropped: dict[str, int]
    streams: int
    fired: int
    resolved: int
    rates: Rates


class _Rows:
    """Collects one poll's outcome by row, whatever wave it came in. Implements ScoreSink."""

    def __init__(self, width: int) -> None:
        self._width = width
        self.begin(0, 0)

    def begin(self, first: int, count: int) -> None:
        self._first = first
        self.scores, self.levels = np.full(count, np.nan, np.float32), np.full(count, np.nan, np.float32)
        self.phases, self.reasons = np.full(count, Phase.DROPPED, np.uint8), np.zeros(count, np.uint8)
        self.contributions, self.expected = np.zeros((count, self._width), np.float32), np.zeros((count, self._width), np.float32)
        self.observed, self.decisions = np.zeros((count, self._width), np.float32), fresh(count)

    def wave(self, partition: Partition, offsets: I64, x: F32, step: Step, decided: Decided) -> None:
        rows = offsets - self._first
        self.scores[rows], self.levels[rows] = step.score, decided.level
        self.phases[rows], self.reasons[rows], self.decisions[rows] = decided.phase, decided.reason, decided.rows
        self.contributions[rows], self.expected[rows], self.observed[rows] = step.contribution, step.expected, x


@dataclass(slots=True)
class Question:
    """What ``--explain`` asks for: the last point of a stream at or before an event time in epoch seconds; ``answer`` once it was met."""

    stream: str
    at: float
    answer: str = ""
    _best: float = -np.inf
    _last: F32 = field(default_factory=lambda: np.full(1, np.nan, np.float32))
    _since: F64 = field(default_factory=lambda: np.zeros(1))  # each feature's value is the last

    def look(self, names: list[str], times: list[float], rows: _Rows, pipeline: Pipeline) -> None:
        for i, (name, time) in enumerate(zip(names, times, strict=True)):
            if name == self.stream and self._best < time <= self.at:
                self._best, self.answer = time, self._explain(i, time, rows, pipeline)

    def _explain(self, i: int, time: float, rows: _Rows, pipeline: Pipeline) -> str:
        if rows.phases[i] == Phase.DROPPED:
            return f"{self.stream} at {timestamp(time)}: it was not scored: late, repeated, or without a value."
        row, score, x = rows.decisions[i], float(rows.scores[i]), rows.observed[i]
        self._since = np.where((x == self._last) | np.isnan(x), self._since, time)
        self._last = np.where(np.isnan(x), self._last, x)
        stood = time - float(self._since[rows.contributions[i].argmax()])
        deviations = pipeline.deviations(self.stream, x, rows.expected[i], rows.contributions[i])
        per_week = pipeline.rarity(score, row)
        point = Point(self.stream, time, score, float(rows.levels[i]), Reason(rows.reasons[i]), row, per_week, deviations, stood)
        return explained(point, pipeline.rules)


def replay(
    bundle: Bundle,
    data: Path,
    scores: Path,
    alerts: Path | None,
    alerting: AlertingSettings,
    progress: Callable[[int, int], None],
    question: Question | None = None,
    model: ModelSettings | None = None,
) -> Summary:
    """Write one row of ``scores`` for each input row, in input order, and one line of ``alerts`` for each notification.

    Raises DataError, BundleError, or ConfigError where an output can't be written.
    """
    for output in (scores, *([] if alerts is None else [alerts])):
        if data.resolve() in (output.resolve(), output.resolve().parent):
            raise ConfigError(f"{output} lies where the data is read from, {data}: name another place for what is written")
    source = FileSource(data, bundle.feature_names, bundle.manifest.each_metric)
    manifest = bundle.manifest
    if question is not None and question.stream not in (streams := source.streams):
        raise DataError(f"--explain: {data} holds no stream {question.stream}: {_nearest(question.stream, streams, manifest.each_metric)}")
    rows, metrics, raised = _Rows(len(manifest.features)), Metrics(), list[Alert]()
    runtime = Runtime(bundle)
    pipeline = offline_pipeline(bundle, runtime, alerting, raised.append, rows, metrics, model, runtime)
    try:
        with scores.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerow(["stream", "timestamp", "score", "threshold", "status", *bundle.feature_names])
            done = 0
            for poll, names, times in source.polls():
                rows.begin(done, len(names))
                pipeline.process([poll])
                _write(out, names, times, rows)
                if question is not None:
                    question.look(names, times, rows, pipeline)
                done += len(names)
                progress(done, len(source))
        if alerts is not None:
            with alerts.open("w") as out:
                _write_alerts(out, raised)
    except OSError as error:
        raise ConfigError(f"{error.filename or scores} can't be written ({error.strerror})") from None
    value = metrics.registry.get_sample_value
    fired = sum(a.reason.label == "fired" for a in raised)
    resolved = sum(not a.firing for a in raised)
    scored = int(value("detector_scored_total") or 0)
    counted = ((r.value, int(value("detector_rejected_total", {"reason": r.value}) or 0)) for r in RejectReason)
    dropped = {name: count for name, count in counted if count}
    return Summary(len(source), scored, dropped, pipeline.table.streams, fired, resolved, rates(pipeline.table.decisions))


def offline_pipeline(
    bundle: Bundle,
    engine: Engine,
    alerting: AlertingSettings,
    on_alert: Callable[[Alert], None],
    sink: ScoreSink | None = None,
    metrics: Metrics | None = None,
    model: ModelSettings | None = None,
    asked_again: Engine | None = None,
) -> Pipeline:
    """The daemon's pipeline with no daemon around it, one partition assigned: nothing is posted and nothing is kept.

    ``model`` says where streams live; without it they do where the bundle's did.
    """
    manifest = bundle.manifest
    rules = alerting.rules(manifest.tail, manifest.tick_interval, manifest.warm_up)
    counted = Metrics() if metrics is None else metrics
    zones = (model or ModelSettings()).zones(bundle)
    pipeline = Pipeline(
        bundle,
        engine,
        rules,
        Outbox(),
        counted,
        NoDeadLetters(),
        max_streams=1 << 40,
        on_alert=on_alert,
        sink=sink,
        zones=zones,
        asked_again=asked_again,
    )
    pipeline.assign(FileSource.PARTITION, Restored((), (), 0))
    return pipeline


def _nearest(asked: str, streams: Sequence[str], each_metric: bool) -> str:
    """What may have been meant: with each metric a stream, those of a host that was named."""
    note = "each metric is a stream of its own, host/metric: " if each_metric else ""
    if each_metric and (own := [name for name in streams if name.startswith(f"{asked}/")]):
        return f"{note}ask for {_few(own)}"
    hosts = sorted({name.rpartition("/")[0] for name in streams}) if each_metric else []
    near = difflib.get_close_matches(asked, [*hosts, *streams])
    return f"{note}{'the nearest are' if near else 'it holds'} {_few(near or streams)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


_STATUS = [phase.name.lower() for phase in Phase]


def _write(out: TextIO, names: list[str], times: list[float], rows: _Rows) -> None:
    score = [f"{s:.6g}" if s == s else "" for s in rows.scores.tolist()]  # noqa: PLR0124 - not a number
    level = [f"{v:.6g}" if v == v else "" for v in rows.levels.tolist()]  # noqa: PLR0124 - not a number
    status = [_STATUS[p] for p in rows.phases.tolist()]
    shares = [[f"{c:.4g}" for c in row] for row in rows.contributions.tolist()]
    whens = [repr(t).removesuffix(".0") for t in times]
    lines = zip(names, whens, score, level, status, shares, strict=True)
    csv.writer(out, lineterminator="\n").writerows([n, t, s, v, p, *c] for n, t, s, v, p, c in lines)


def _write_alerts(out: TextIO, raised: list[Alert]) -> None:
    for alert in raised:
        out.write(msgspec.json.encode(alert_body(alert)).decode() + "\n")
