"""``replay``: the daemon's pipeline over files. What it would have scored and raised,
point by point.
"""

from __future__ import annotations

import contextlib
import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import msgspec
import numpy as np

from detector.alerting.incident_rates import IncidentRates, incident_rates
from detector.errors import ConfigError, RejectReason
from detector.events import Alert, Phase, Reason
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.pipeline.pipeline import Pipeline
from detector.record_clock import ANY_TIME
from detector.replay.chunks import Chunk, FileSource
from detector.replay.offline import offline_pipeline
from detector.settings.alerting import AlertingSettings

_COLUMNS = ("stream", "timestamp", "score", "threshold", "status")
_STATUS = [phase.name.lower() for phase in Phase]
# What a counter's first value and most resets are: rows that nothing is wrong with.
_WITHOUT_RATE = "counter without a rate"
_WRITTEN = 16_384  # rows turned to text at once

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outputs:
    """Files to write; None for one that nobody asked for."""

    scores: Path | None = None
    alerts: Path | None = None

    def check(self, data: Path) -> None:
        """Raises ConfigError if an output would replace the data, become part of it, or
        overwrite the other output.
        """
        for output in (self.scores, self.alerts):
            if output is None:
                continue
            place = output.resolve()
            if data.resolve() in (place, place.parent):
                raise ConfigError(
                    f"{output} is where the data is read from, {data}:"
                    " name another place for what is written"
                )
        if self.scores is None or self.alerts is None:
            return
        if _is_same_file(self.scores, self.alerts):
            raise ConfigError(
                f"--scores {self.scores} and --alerts {self.alerts} are the same file:"
                " give each a file of its own"
            )


def _is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, through links or not."""
    if one.resolve() == other.resolve():
        return True
    return one.exists() and other.exists() and one.samefile(other)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay came to.

    Attributes:
        dropped: rows that were not scored, by reason.
    """

    rows: int
    scored: int
    dropped: dict[str, int]
    streams: int
    fired: int
    resolved: int
    rates: IncidentRates


class _RowCollector(NullObserver):
    """A chunk's results by row, whatever wave they came in, and the alerts of all
    chunks. Implements Observer.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._raising: Iterator[int] = iter(())
        self._raised: list[tuple[int, Alert]] = []

    def begin(self, chunk: Chunk) -> None:
        count = len(chunk)
        self._chunk = chunk
        self.scores = np.full(count, np.nan, np.float32)
        self.thresholds = np.full(count, np.nan, np.float32)
        self.phases = np.full(count, Phase.DROPPED, np.uint8)
        self.contributions = np.zeros((count, self._width), np.float32)

    def scored(self, batch: ScoredBatch) -> None:
        # a point that an earlier chunk held back has its row there, written already
        here = np.flatnonzero(batch.offsets >= self._chunk.first)
        rows = self._chunk.rows(batch.offsets[here])
        self.scores[rows] = batch.step.score[here]
        self.thresholds[rows] = batch.decisions.threshold[here]
        self.phases[rows] = batch.decisions.phase[here]
        self.contributions[rows] = batch.step.contribution[here]
        places = batch.offsets.copy()
        places[here] = self._chunk.first + rows
        self._raising = iter(places[batch.transitions].tolist())

    def alerted(self, alert: Alert) -> None:
        self._raised.append((next(self._raising), alert))

    @property
    def alerts(self) -> list[Alert]:
        """In the input order of the rows that raised them."""
        raised = sorted(self._raised, key=_row)
        return [alert for _, alert in raised]


def replay(
    bundle: Bundle,
    source: FileSource,
    outputs: Outputs,
    alerting: AlertingSettings,
    progress: Progress,
    model: ModelSettings | None = None,
) -> Summary:
    """Write one row of scores for each input row, in input order, and one line for each
    alert. ``progress`` is called with the rows done and the rows of DATA.

    Raises BundleError, or ConfigError if an output can't be written.
    """
    outputs.check(source.data)
    rows = _RowCollector(len(bundle.feature_names))
    metrics = Metrics()
    engine = OnnxEngine(bundle)
    pipeline = offline_pipeline(
        bundle,
        engine,
        alerting.tuning(source.count_streams()),
        rows,
        metrics=metrics,
        model=model,
        probe_engine=engine,
    )
    with _opened(outputs.scores) as scores, _opened(outputs.alerts) as alerts:
        if scores is not None:
            _write_header(scores, bundle)
        for chunk in source.chunks():
            rows.begin(chunk)
            for poll in chunk.polls(ANY_TIME):
                pipeline.process([poll])
                progress(poll.next_offset, len(source))
            if chunk.first + len(chunk) == len(source):
                pipeline.finish()
            if scores is not None:
                with _writing(outputs.scores):
                    _write_scores(scores, chunk, rows)
        if alerts is not None:
            with _writing(outputs.alerts):
                _write_alerts(alerts, rows.alerts, alerting.labelling())
    return _summary(len(source), rows.alerts, metrics, pipeline)


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
        return
    with _writing(path):
        file = path.open("w", newline="")
    try:
        yield file
    finally:
        with _writing(path):
            file.close()


@contextlib.contextmanager
def _writing(path: Path | None) -> Iterator[None]:
    """Raises ConfigError if what is done with this output fails."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"{path} can't be written ({error.strerror})") from None


def _summary(
    rows: int,
    alerts: list[Alert],
    metrics: Metrics,
    pipeline: Pipeline,
) -> Summary:
    def count(name: str, **labels: str) -> int:
        value = metrics.registry.get_sample_value(name, labels)
        return int(value or 0)

    dropped: dict[str, int] = {}
    for reason in RejectReason:
        rejected = count("detector_rejected_total", reason=reason.value)
        if rejected:
            dropped[reason.value] = rejected
    scored = count("detector_scored_total")
    without_rate = rows - scored - sum(dropped.values())
    if without_rate > 0:
        dropped[_WITHOUT_RATE] = without_rate
    return Summary(
        rows=rows,
        scored=scored,
        dropped=dropped,
        streams=pipeline.table.streams,
        fired=sum(alert.reason is Reason.FIRED for alert in alerts),
        resolved=sum(not alert.firing for alert in alerts),
        rates=incident_rates(pipeline.table.decisions),
    )


def _row(raised: tuple[int, Alert]) -> int:
    return raised[0]


def _write_header(file: TextIO, bundle: Bundle) -> None:
    columns = [*_COLUMNS, *bundle.feature_names]
    csv.writer(file, lineterminator="\n").writerow(columns)


def _write_scores(file: TextIO, chunk: Chunk, rows: _RowCollector) -> None:
    writer = csv.writer(file, lineterminator="\n")
    for start in range(0, len(chunk), _WRITTEN):
        part = slice(start, start + _WRITTEN)
        lines = zip(
            map(chunk.names.__getitem__, chunk.stream[part].tolist()),
            map(_time, chunk.times[part].tolist()),
            map(_figure, rows.scores[part].tolist()),
            map(_figure, rows.thresholds[part].tolist()),
            map(_STATUS.__getitem__, rows.phases[part].tolist()),
            map(_shares, rows.contributions[part].tolist()),
            strict=True,
        )
        writer.writerows([*fields, *shares] for *fields, shares in lines)


def _time(seconds: float) -> str:
    return repr(seconds).removesuffix(".0")


def _shares(values: list[float]) -> list[str]:
    return [f"{value:.4g}" for value in values]


def _figure(value: float) -> str:
    """Empty for a row that was not scored."""
    return "" if math.isnan(value) else f"{value:.6g}"


def _write_alerts(file: TextIO, alerts: list[Alert], labelling: Labelling) -> None:
    for alert in alerts:
        body = alert_body(alert, labelling)
        line = msgspec.json.encode(body).decode()
        file.write(f"{line}\n")
