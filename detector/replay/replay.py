"""``detector replay``: the daemon's pipeline over a file; what would have been raised,
point by point.
"""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from detector.alerting.decide import Decisions
from detector.alerting.incident_rates import IncidentRates, incident_rates
from detector.errors import ConfigError, DataError, RejectReason
from detector.events import F32, I64, Alert, Phase, Reason
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import StepOutput
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.pipeline.pipeline import Pipeline
from detector.replay.chunks import Chunk, FileSource, LastPoint
from detector.replay.explain_point import Point, explained
from detector.replay.offline import offline_pipeline
from detector.settings.alerting import AlertingSettings
from detector.timestamps import rfc3339

_LONG_BEFORE = 2  # ticks
_NAMED = 5  # streams, of those that may have been meant


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay came to; ``dropped``: rows that were not scored and are not merely
    without a value, by reason.
    """

    rows: int
    scored: int
    dropped: dict[str, int]
    streams: int
    fired: int
    resolved: int
    rates: IncidentRates


class _Rows(NullObserver):
    """Collects a chunk's outcome by row, whatever wave it came in, all alerts, and the
    point to explain. Implements Observer.
    """

    def __init__(self, width: int, question: ExplainRequest | None) -> None:
        self._width = width
        self._question = question
        self._raising: Iterator[int] = iter(())
        self._raised: list[tuple[int, Alert]] = []

    def begin(self, stretch: Chunk) -> None:
        count = len(stretch)
        self._stretch = stretch
        self.scores = np.full(count, np.nan, np.float32)
        self.levels = np.full(count, np.nan, np.float32)
        self.phases = np.full(count, Phase.DROPPED, np.uint8)
        self.contributions = np.zeros((count, self._width), np.float32)

    def scored(self, batch: ScoredBatch) -> None:
        rows = self._stretch.rows(batch.offsets)
        self.scores[rows] = batch.step.score
        self.levels[rows] = batch.decisions.threshold
        self.phases[rows] = batch.decisions.phase
        self.contributions[rows] = batch.step.contribution
        in_data = self._stretch.first + rows
        self._raising = iter(in_data[batch.transitions].tolist())
        if self._question is not None:
            self._question.look(in_data, batch.x, batch.step, batch.decisions)

    def alerted(self, alert: Alert) -> None:
        self._raised.append((next(self._raising), alert))

    @property
    def raised(self) -> list[Alert]:
        """In the input order of the rows that raised them."""
        return [alert for _, alert in sorted(self._raised, key=lambda found: found[0])]


@dataclass(slots=True)
class ExplainRequest:
    """What ``--explain`` asks for: the last point of a stream at or before an event
    time in epoch seconds; ``answer`` where there is one.
    """

    stream: str
    at: float
    answer: str = ""
    _last: LastPoint | None = None
    _met: tuple[int, F32, StepOutput, Decisions] | None = None

    def find(self, source: FileSource) -> None:
        self._last = source.last(self.stream, self.at)

    def look(self, rows: I64, x: F32, step: StepOutput, decided: Decisions) -> None:
        """A wave, by the row of each of its points."""
        for i in (
            np.flatnonzero(rows == self._last.row).tolist()
            if self._last is not None
            else ()
        ):
            self._met = i, x, step, decided

    def conclude(self, pipeline: Pipeline) -> None:
        if self._last is None:
            return
        if self._met is None:
            self.answer = f"{self.stream} at {rfc3339(self._last.time)}: it was not scored: late, repeated, or without a value."
            return
        i, x, step, decided = self._met
        row = decided.rows[i]
        score = float(step.score[i])
        most = int(step.contribution[i].argmax())
        deviations = pipeline.alerts.deviations(
            self.stream, x[i], step.expected[i], step.contribution[i]
        )
        reason = Reason(decided.reason[i])
        per_week = pipeline.alerts.incident_rate(score, row)
        stood = float(self._last.unchanged_for[most])
        point = Point(
            self.stream,
            self._last.time,
            score,
            float(decided.threshold[i]),
            reason,
            row,
            per_week,
            deviations,
            stood,
        )
        before = self.at - self._last.time >= _LONG_BEFORE * float(row["tick"])
        note = (
            f"{self.stream} has no point at {rfc3339(self.at)}; its last one before that:\n"
            if before
            else ""
        )
        self.answer = note + explained(point, pipeline.alerts.policy)


def replay(
    bundle: Bundle,
    data: Path,
    scores: Path,
    alerts: Path | None,
    alerting: AlertingSettings,
    progress: Callable[[int, int], None],
    question: ExplainRequest | None = None,
    model: ModelSettings | None = None,
) -> Summary:
    """Write one row of ``scores`` for each input row, in input order, and one line of
    ``alerts`` for each notification.

    Raises DataError, BundleError, or ConfigError where an output can't be written.
    """
    for output in (scores, *([] if alerts is None else [alerts])):
        if data.resolve() in (output.resolve(), output.resolve().parent):
            raise ConfigError(
                f"{output} lies where the data is read from, {data}: name another place for what is written"
            )
    source = FileSource(data, bundle.feature_names, bundle.manifest.each_metric)
    manifest = bundle.manifest
    if question is not None:
        if question.stream not in (streams := source.streams):
            raise DataError(
                f"--explain: {data} holds no stream {question.stream}: {_nearest(question.stream, streams, manifest.each_metric)}"
            )
        question.find(source)
    rows = _Rows(len(manifest.features), question)
    metrics = Metrics()
    runtime = OnnxEngine(bundle)
    pipeline = offline_pipeline(
        bundle,
        runtime,
        alerting.tuning(),
        rows,
        metrics=metrics,
        model=model,
        probe_engine=runtime,
    )
    try:
        with scores.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerow(
                [
                    "stream",
                    "timestamp",
                    "score",
                    "threshold",
                    "status",
                    *bundle.feature_names,
                ]
            )
            for stretch in source.chunks():
                rows.begin(stretch)
                for poll in stretch.polls():
                    pipeline.process([poll])
                    progress(poll.next_offset, len(source))
                for start in range(0, len(stretch), _WRITTEN):
                    _write(out, stretch, rows, slice(start, start + _WRITTEN))
        raised = rows.raised
        if alerts is not None:
            with alerts.open("w") as out:
                _write_alerts(out, raised, alerting.labelling())
    except OSError as error:
        raise ConfigError(
            f"{error.filename or scores} can't be written ({error.strerror})"
        ) from None
    if question is not None:
        question.conclude(pipeline)
    value = metrics.registry.get_sample_value
    fired = sum(a.reason.label == "fired" for a in raised)
    resolved = sum(not a.firing for a in raised)
    scored = int(value("detector_scored_total") or 0)
    counted = (
        (r.value, int(value("detector_rejected_total", {"reason": r.value}) or 0))
        for r in RejectReason
    )
    dropped = {name: count for name, count in counted if count}
    return Summary(
        len(source),
        scored,
        dropped,
        pipeline.table.streams,
        fired,
        resolved,
        incident_rates(pipeline.table.decisions),
    )


def _nearest(asked: str, streams: Sequence[str], each_metric: bool) -> str:
    """What may have been meant: with each metric a stream, those of a host that was
    named.
    """
    note = "each metric is a stream of its own, host/metric: " if each_metric else ""
    if each_metric and (
        own := [name for name in streams if name.startswith(f"{asked}/")]
    ):
        return f"{note}ask for {_few(own)}"
    hosts = sorted({name.rpartition("/")[0] for name in streams}) if each_metric else []
    near = difflib.get_close_matches(asked, [*hosts, *streams])
    return f"{note}{'the nearest are' if near else 'it holds'} {_few(near or streams)}"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (
        f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    )


_STATUS = [phase.name.lower() for phase in Phase]
_WRITTEN = 16_384  # rows that are text at once


def _write(out: TextIO, stretch: Chunk, rows: _Rows, part: slice) -> None:
    names = [stretch.names[i] for i in stretch.stream[part].tolist()]
    whens = [repr(t).removesuffix(".0") for t in stretch.times[part].tolist()]
    score = [f"{s:.6g}" if s == s else "" for s in rows.scores[part].tolist()]  # noqa: PLR0124 - not a number
    level = [f"{v:.6g}" if v == v else "" for v in rows.levels[part].tolist()]  # noqa: PLR0124 - not a number
    status = [_STATUS[p] for p in rows.phases[part].tolist()]
    shares = [[f"{c:.4g}" for c in row] for row in rows.contributions[part].tolist()]
    lines = zip(names, whens, score, level, status, shares, strict=True)
    csv.writer(out, lineterminator="\n").writerows(
        [n, t, s, v, p, *c] for n, t, s, v, p, c in lines
    )


def _write_alerts(out: TextIO, raised: list[Alert], labelling: Labelling) -> None:
    for alert in raised:
        body = alert_body(alert, labelling)
        out.write(msgspec.json.encode(body).decode() + "\n")
