"""The detector against the plain baselines on held-out rows: a network that does not
beat them is not worth its weight.

Theory of operation. All contenders are exported graphs. Each steps a bounded number of
streams through the same rows: a few thousand before the calibration rows, to be where
the daemon would be, and then the calibration rows themselves, which no weight and no
scale was fitted to. Where those rows carry labels the rows are judged as they are.
Where they don't, every stretch is judged in copies with faults of eight kinds and three
sizes (:mod:`training.synthetic.faults`): what else may be wrong in the rows counts
against all contenders alike.

The measure is the volume under the precision-recall surface
(:mod:`training.evaluation.metrics`), the mean over cases; beside it stand average
precision and the share of events that are found: those that pass the level which one
clean point of the stream in 200 passes. A detector is *worse* than a baseline if its
mean lies lower by more than the comparison can tell apart: two standard errors of the
paired differences, and at least :data:`MARGIN`. Cost is bounded by streams and rows,
not by the history; same data and seed, same figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64
from detector.model.engine import Engine, clock_input
from training.evaluation.metrics import (
    Truth,
    average_precision,
    buffer_length,
    runs,
    vus_pr,
)
from training.history.history import History, Series, Split
from training.history.labels import marked
from training.synthetic.faults import KINDS, SHORTEST_STRETCH, SIZES, inject

#: of the volume: less than this says nothing. Made faults stand in for those that will
#: come, so more is asked of them than of labels.
MARGIN = {"labels": 0.01, "faults": 0.05}
STREAMS = 12
STRETCH = 1500
WARM = 4000
LABELLED_STREAMS = 32
LABELLED_ROWS = 20_000
CLEAN_SHARE = 0.005
_LATE = 5  # points after an event that still find it
_BUFFER = 32
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graph and each stream's row before its first point, float32 [N, S]."""

    name: str
    engine: Engine
    first: F32


@dataclass(frozen=True, slots=True)
class Result:
    """One contender's figures: means over the cases, of which ``by_kind`` breaks down
    the volume.
    """

    name: str
    vus_pr: float
    auc_pr: float
    recall: float
    by_kind: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome; the first standing is the detector's own, the others are the
    baselines'.

    Attributes:
        basis: that of :class:`Cases`.
        lead: the detector's volume less that of the best baseline.
        noise: what of it the comparison can't tell apart.
    """

    basis: str
    streams: int
    cases: int
    standings: tuple[Result, ...]
    lead: float
    noise: float

    @property
    def best_baseline(self) -> Result:
        return max(self.standings[1:], key=lambda s: s.vus_pr)

    @property
    def worse(self) -> bool:
        return self.lead < -self.noise

    @property
    def sentence(self) -> str:
        own = self.standings[0]
        best = self.best_baseline
        verdict = (
            "beats"
            if self.lead > self.noise
            else "is worse than"
            if self.worse
            else "is on a par with"
        )
        return f"{own.name} (VUS-PR {own.vus_pr:.3f}) {verdict} the best baseline, {best.name} ({best.vus_pr:.3f}); noise {self.noise:.3f}"


@dataclass(frozen=True, slots=True)
class _Case:
    """Rows of one stream to be judged; ``kind`` is "" for a clean copy, which sets the
    level and is not judged.
    """

    series: int
    kind: str
    times: F64
    values: F32
    truth: Truth
    buffer: int


@dataclass(frozen=True, slots=True)
class Cases:
    """What the contenders are judged on; ``basis`` is ``labels`` or ``faults``."""

    basis: str
    cases: tuple[_Case, ...]


def find_cases(history: History, splits: Sequence[Split], seed: int) -> Cases | None:
    """None where the held-out rows are too few to say anything."""
    if labelled := _labelled(history, splits):
        return Cases("labels", tuple(labelled))
    faulty = _faulty(history, splits, seed)
    return (
        Cases("faults", tuple(faulty)) if any(c.truth.any() for c in faulty) else None
    )


def why_not(history: History, splits: Sequence[Split]) -> str:
    """Why :func:`find_cases` found none."""
    held = [
        slice(part.calibration, len(series))
        for series, part in zip(history.series, splits, strict=True)
    ]
    none = np.zeros((0, 2))
    labelled = any(
        marked(s.times[rows], history.labels.get(s.name, none)).any()
        for s, rows in zip(history.series, held, strict=True)
    )
    basis = (
        "the labels mark all held-out rows of a stream or none"
        if labelled
        else "no labels in the held-out rows"
    )
    longest = max(rows.stop - rows.start for rows in held)
    if longest < SHORTEST_STRETCH:
        return f"{basis}, and at most {longest} of them in a stream: faults are made in {SHORTEST_STRETCH} or more"
    return f"{basis}, and in the streams that were looked at no metric moves in them: no fault could be made that stands out"


def trial(
    history: History, found: Cases, contenders: Sequence[Candidate]
) -> Comparison:
    """``contenders``: the detector, then the baselines."""
    basis = found.basis
    cases = found.cases
    judged = [c for c in cases if c.truth.any()]
    results = [
        _standing(contender, basis, cases, _scores(contender, history, cases))
        for contender in contenders
    ]
    volumes = [volume for _, volume in results]
    difference = volumes[0] - max(volumes[1:], key=lambda v: float(v.mean()))
    error = (
        float(difference.std(ddof=1)) / np.sqrt(len(difference))
        if len(difference) > 1
        else 0.0
    )
    streams = len({c.series for c in judged})
    return Comparison(
        basis,
        streams,
        len(judged),
        tuple(s for s, _ in results),
        float(difference.mean()),
        max(MARGIN[basis], 2 * float(error)),
    )


def _standing(
    contender: Candidate, basis: str, cases: Sequence[_Case], scores: Sequence[F32]
) -> tuple[Result, F64]:
    """A contender's figures, and its volume for each case that is judged."""
    clean = {
        c.series: s[~c.truth]
        for c, s in zip(cases, scores, strict=True)
        if basis == "labels" or not c.kind
    }
    levels = {i: float(np.quantile(s, 1 - CLEAN_SHARE)) for i, s in clean.items()}
    pairs = [(c, s) for c, s in zip(cases, scores, strict=True) if c.truth.any()]
    volume = np.array([vus_pr(s, c.truth, c.buffer) for c, s in pairs])
    precision = np.array([average_precision(s, c.truth) for c, s in pairs])
    found = np.concatenate([_found(s, c.truth, levels[c.series]) for c, s in pairs])
    kinds = {
        kind: float(volume[[c.kind == kind for c, _ in pairs]].mean())
        for kind in dict.fromkeys(c.kind for c, _ in pairs)
    }
    return Result(
        contender.name,
        float(volume.mean()),
        float(precision.mean()),
        float(found.mean()),
        kinds,
    ), volume


def _labelled(history: History, splits: Sequence[Split]) -> list[_Case]:
    """The calibration rows of streams that have labels there."""
    cases = []
    for i, (series, part) in enumerate(zip(history.series, splits, strict=True)):
        rows = slice(part.calibration, part.calibration + LABELLED_ROWS)
        truth = marked(
            series.times[rows], history.labels.get(series.name, np.zeros((0, 2)))
        )
        if truth.any() and not truth.all():
            cases.append(
                _Case(
                    i,
                    "labelled",
                    series.times[rows],
                    series.values[rows],
                    truth,
                    buffer_length(series.values[rows]),
                )
            )
    return _spread(cases, LABELLED_STREAMS)


def _faulty(history: History, splits: Sequence[Split], seed: int) -> list[_Case]:
    """For each of a few streams, a clean copy of its last rows and one for every kind
    and size of fault.
    """
    long = [
        i
        for i, (s, p) in enumerate(zip(history.series, splits, strict=True))
        if len(s) - p.calibration >= SHORTEST_STRETCH
    ]
    cases = []
    for i in _spread(long, STREAMS):
        series = history.series[i]
        start = max(splits[i].calibration, len(series) - STRETCH)
        times = series.times[start:]
        values = series.values[start:]
        buffer = min(_BUFFER, len(values) // 20)
        cases.append(
            _Case(i, "", times, values, np.zeros(len(values), np.bool_), buffer)
        )
        for k, kind in enumerate(KINDS):
            for grade, size in enumerate(SIZES):
                copy = inject(
                    values,
                    series.scale,
                    kind,
                    size,
                    np.random.default_rng((seed, i, k, grade)),
                )
                cases.append(_Case(i, kind, times, copy.values, copy.truth, buffer))
    return cases


def _spread(of: list[_Any], most: int) -> list[_Any]:
    """At most so many, evenly over all."""
    return (
        [
            of[i]
            for i in np.unique(
                np.linspace(0, len(of) - 1, min(most, len(of))).astype(int)
            )
        ]
        if of
        else []
    )


def _scores(
    contender: Candidate, history: History, cases: Sequence[_Case]
) -> list[F32]:
    """Each case's scores, from the state in which its stream arrives there."""
    streams = sorted({c.series for c in cases})
    starts = {
        c.series: int(np.searchsorted(history.series[c.series].times, c.times[0]))
        for c in cases
    }
    before = [
        _cut(history.series[i], max(0, starts[i] - WARM), starts[i]) for i in streams
    ]
    ticks = np.array([history.series[i].tick for i in streams])
    _, rows = _walk(
        contender.engine, history.wall, before, ticks, contender.first[streams]
    )
    at = np.array([streams.index(c.series) for c in cases])
    scores, _ = _walk(
        contender.engine,
        history.wall,
        [(c.times, c.values) for c in cases],
        ticks[at],
        rows[at],
    )
    return scores


def _cut(series: Series, start: int, stop: int) -> tuple[F64, F32]:
    return series.times[start:stop], series.values[start:stop]


def _walk(
    engine: Engine,
    wall: Callable[[F64], F64],
    tracks: Sequence[tuple[F64, F32]],
    ticks: F64,
    rows: F32,
) -> tuple[list[F32], F32]:
    """Step tracks (times [n], values [n, F]) side by side from ``rows``; each one's
    scores [n], and its row after its last point.

    ``wall``: from event times to those on the streams' clocks.
    """
    lengths = np.array([len(t) for t, _ in tracks])
    times = np.zeros((lengths.max(), len(tracks)))
    values = np.full(
        (lengths.max(), len(tracks), tracks[0][1].shape[1]), np.nan, np.float32
    )
    for k, (when, x) in enumerate(tracks):
        times[: len(when), k] = when
        values[: len(x), k] = x
    scores = np.zeros(times.shape, np.float32)
    state = rows.copy()
    since = ticks
    for t in range(len(times)):
        running = np.flatnonzero(lengths > t)
        if t:
            since = times[t] - times[t - 1]
        clock = clock_input(since[running], wall(times[t, running]))
        step = engine.step(
            values[t].take(running, axis=0), clock, state.take(running, axis=0)
        )
        scores[t, running] = step.score
        state[running] = step.next_state
    return [scores[:n, k] for k, n in enumerate(lengths.tolist())], state


def _found(scores: F32, truth: Truth, level: float) -> npt.NDArray[np.bool_]:
    """For each event, whether a score in it or just after reaches the level."""
    return np.array(
        [
            scores[a : b + 1 + _LATE].max() >= level
            for a, b in zip(*runs(truth), strict=True)
        ]
    )
