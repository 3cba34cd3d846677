"""``replay --explain``: why one point of one stream did or did not alert.

A stream's scores, thresholds and incidents follow from its own rows alone. So only that
stream is stepped, up to the point: the answer is that of a replay of all streams.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.alerting.decide import base_offset
from detector.alerting.policy import AlertPolicy, AlertTuning
from detector.alerting.thresholds import slow_tick_caution
from detector.alerting.wording import how_rare, observed_in_words
from detector.errors import DataError
from detector.events import FeatureDeviation, Phase, Rarity, Reason
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.phrases import duration, listed
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.record_clock import ANY_TIME
from detector.replay.chunks import FileSource, LastPoint
from detector.replay.offline import offline_pipeline
from detector.timestamps import rfc3339

_LONG_BEFORE = 2  # ticks before the time asked for, after which a point is another one
_UNCHANGED = 10  # ticks: a few equal values in a row are chance, and not mentioned
_NAMED = 5  # streams that a message names at most
_SHOWN_SHARE = 0.01  # of the error: smaller ones are not mentioned
_SHOWN_OFFSET = 0.01  # score: an offset that prints as 0.00 is not mentioned


@dataclass(frozen=True, slots=True)
class ExplainRequest:
    """The last point of a stream at or before an event time in epoch seconds."""

    stream: str
    at: float


@dataclass(frozen=True, slots=True)
class Point:
    """One scored point and the decision about it.

    Attributes:
        row: its stream's decision row after it.
        rarity: how often its stream reaches this score.
        unchanged_for: seconds for which the feature that contributed most has had this
            value.
    """

    stream: str
    at: float
    score: float
    threshold: float
    reason: Reason
    row: np.void
    rarity: Rarity
    deviations: Sequence[FeatureDeviation]
    unchanged_for: float = 0.0


class _PointFinder(NullObserver):
    """Keeps the batch that holds one record. Implements Observer."""

    def __init__(self, offset: int) -> None:
        self._offset = offset
        self.found: tuple[ScoredBatch, int] | None = None

    def scored(self, batch: ScoredBatch) -> None:
        for i in np.flatnonzero(batch.offsets == self._offset).tolist():
            self.found = batch, i


def explain(
    request: ExplainRequest,
    bundle: Bundle,
    source: FileSource,
    tuning: AlertTuning,
    model: ModelSettings | None = None,
) -> str:
    """The answer, as lines for a person.

    Raises DataError if DATA has no such stream, or none of its points is early enough.
    """
    stream = request.stream
    check_stream(stream, source)
    last = source.last_point(stream, request.at)
    if last is None:
        raise DataError(
            f"--explain: {stream} has no point at or before that time"
            f" in {source.data}: name a later one"
        )
    chunk = source.chunk_of_stream(stream, last.row)
    finder = _PointFinder(len(chunk) - 1)
    engine = OnnxEngine(bundle)
    pipeline = offline_pipeline(
        bundle, engine, tuning, finder, model=model, probe_engine=engine
    )
    for poll in chunk.polls(ANY_TIME):
        pipeline.process([poll])
    pipeline.finish()
    if finder.found is None:
        return (
            f"{stream} at {rfc3339(last.time)}: it was not scored:"
            " late, repeated, from the future, without a value, or a counter's first"
            " value or reset."
        )
    point = _point(stream, last, *finder.found, pipeline.alerts)
    return _note(request, point) + explained(point, pipeline.alerts.policy)


def _note(request: ExplainRequest, point: Point) -> str:
    """Says that the point is an earlier one than the request names, else empty."""
    is_earlier = request.at - point.at >= _LONG_BEFORE * float(point.row["tick"])
    if not is_earlier:
        return ""
    return (
        f"{point.stream} has no point at {rfc3339(request.at)};"
        " its last one before that:\n"
    )


def check_stream(stream: str, source: FileSource) -> None:
    """Raises DataError, with the nearest names, if DATA has no such stream."""
    names = source.streams
    if stream not in names:
        remedy = _nearest(stream, names, source.each_metric)
        raise DataError(f"--explain: {source.data} holds no stream {stream}: {remedy}")


def _nearest(asked: str, names: Sequence[str], each_metric: bool) -> str:
    """Streams that may have been meant; if each metric is a stream, those of a host."""
    if not each_metric:
        return _suggested(difflib.get_close_matches(asked, names), names)
    note = "each metric is a stream of its own, host/metric: "
    of_host = [name for name in names if name.startswith(f"{asked}/")]
    if of_host:
        return f"{note}ask for {listed(of_host, _NAMED)}"
    hosts = sorted({name.rpartition("/")[0] for name in names})
    near = difflib.get_close_matches(asked, [*hosts, *names])
    return note + _suggested(near, names)


def _suggested(near: Sequence[str], names: Sequence[str]) -> str:
    if near:
        return f"the nearest are {listed(near, _NAMED)}"
    return f"it holds {listed(names, _NAMED)}"


def _point(
    stream: str, last: LastPoint, batch: ScoredBatch, i: int, alerts: AlertComposer
) -> Point:
    step = batch.step
    score = float(step.score[i])
    row = batch.decisions.rows[i]
    top = int(step.contribution[i].argmax())
    return Point(
        stream=stream,
        at=last.time,
        score=score,
        threshold=float(batch.decisions.threshold[i]),
        reason=Reason(batch.decisions.reason[i]),
        row=row,
        rarity=alerts.rarity(stream, score, row),
        deviations=alerts.deviations_at(stream, batch, i),
        unchanged_for=float(last.unchanged_for[top]),
    )


# -- in words --------------------------------------------------------------------------


def explained(point: Point, policy: AlertPolicy) -> str:
    """Four lines: what was observed, how rare it is, what the threshold is made of, and
    what was decided.
    """
    observed = observed_in_words(point.deviations) or "nothing deviates"
    shares = ", ".join(
        f"{d.name} {d.contribution:.0%}"
        for d in point.deviations
        if d.contribution >= _SHOWN_SHARE
    )
    rates = [d.name for d in point.deviations if d.is_rate]
    if rates:
        observed += f"; rates per second, of {_counters(rates)}"
    fires = point.row["phase"] == Phase.FIRING
    verdict = "It fires" if fires else "It does not fire"
    return "\n".join(
        [
            f"{point.stream} at {_moment(point.at)}: {observed}{_unchanged(point)}.",
            f"Score {point.score:.2f}: {how_rare(point.rarity)}."
            f" Shares of the error: {shares or 'none'}.",
            f"Threshold {point.threshold:.2f}: {_parts(point, policy)}.",
            f"{verdict}: {_because(point, policy)}.",
        ]
    )


def _counters(names: Sequence[str]) -> str:
    if len(names) == 1:
        return f"the counter {names[0]}"
    return f"the counters {listed(names, _NAMED)}"


def _unchanged(point: Point) -> str:
    """A fact, whether or not it is anomalous."""
    shortest = _UNCHANGED * float(point.row["tick"])
    if not point.deviations or not point.unchanged_for >= shortest > 0:
        return ""
    name = point.deviations[0].name
    if point.deviations[0].is_rate:
        return f"; {name} has not counted anything for {duration(point.unchanged_for)}"
    return f"; {name} has had this value for {duration(point.unchanged_for)}"


def _parts(point: Point, policy: AlertPolicy) -> str:
    """What the threshold is made of."""
    row = point.row
    steps = np.array([row["steps"]])
    tick = np.array([row["tick"]], np.float64)
    fleet = float(policy.warning)
    own = float(row["stream_offset"])
    caution = slow_tick_caution(np.array([own], np.float32), policy.score_scale)
    age_offset = float(base_offset(steps, tick, policy, caution)[0])
    penalty = float(row["alarm_penalty"])
    parts = [
        f"{fleet:.2f} for the fleet and the budget",
        f"{own:+.2f} from this stream's own past",
        f"{penalty:+.2f} for recent incidents or being new",
    ]
    if abs(age_offset) >= _SHOWN_OFFSET:
        parts.append(f"{age_offset:+.2f} for its tick and its age")
    of_fleet = fleet + penalty + age_offset
    if of_fleet < policy.floor:
        parts.append(f"{policy.floor - of_fleet:+.2f} up to the lowest threshold")
    total = max(of_fleet, policy.floor) + own
    if np.isfinite(row["plateau"]) and point.threshold > total + _SHOWN_OFFSET:
        parts.append("raised above the incident that is no longer reported")
    return ", ".join(parts)


def _because(point: Point, policy: AlertPolicy) -> str:
    row = point.row
    began = f"the incident began at {_moment(float(row['onset']))}"
    ended = _moment(float(row["ended"]))
    below = point.threshold - point.score
    return {
        Reason.WARMING: f"the stream has had {row['steps']} of the {policy.warm_up}"
        " points of its warm-up",
        Reason.BELOW_THRESHOLD: f"the score is {below:.2f} below the threshold",
        Reason.UNCONFIRMED: "the score is over the threshold for"
        f" {row['breach_streak']} of the {policy.breach_steps} points that it takes",
        Reason.COOLDOWN: "the score is a little over the threshold, too soon after the"
        f" incident that ended at {ended}",
        Reason.HABITUAL: "the score is a little over the threshold, at the time of day"
        f" at which the incident that ended at {ended} began",
        Reason.NEGLIGIBLE: "the score is over the threshold, but the values differ by"
        f" less than {policy.min_relative_deviation:.1%} from what is expected",
        Reason.FIRED: began,
        Reason.STILL_FIRING: began,
        Reason.ESCALATED: f"{began} and is critical now",
        Reason.RETURNED: f"{began} and is back after a calm",
        Reason.CLEARING: f"{began}; the score is below the clearing threshold for"
        f" {row['clear_streak']} of the {policy.clear_steps} points that it takes,"
        " and must stay there for a while",
        Reason.RECOVERED: f"{began} and is over: the score stayed below the clearing"
        " threshold",
        Reason.ACCEPTED: f"{began}, and its state is accepted as the new normal",
        Reason.ENDED: f"{began} and is over: the score stayed below the clearing"
        " threshold; whether the metric came back can't be told",
        Reason.REPLACED: f"{began}; another bundle took over",
        Reason.LOST: f"{began}; the store was lost",
        Reason.EXPIRED: f"{began}; it has lasted"
        f" {duration(policy.max_incident)} and is no longer reported",
    }[point.reason]


def _moment(time: float) -> str:
    return rfc3339(time, digits=0) if np.isfinite(time) else "no time"
