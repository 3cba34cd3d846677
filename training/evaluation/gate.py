"""The detector against the plain baselines on held-out rows: a network that does not
beat them is not worth its weight.

Theory of operation. All candidates are exported graphs. Each steps a bounded number of
streams through the same rows: first a few thousand before the held-out rows, to reach
the state that the daemon would have there, then the cases
(:mod:`training.evaluation.cases`).

The measure is the volume under the precision-recall surface
(:mod:`training.evaluation.metrics`), the mean over cases. Beside it are average
precision and the share of events that are found: those with a score over the threshold
that one clean point of the stream in 200 passes. A detector is *worse* than a baseline
if its mean is lower by more than the comparison can tell apart: two standard errors of
the paired differences, and at least :data:`MARGIN`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detector.events import F32, F64
from detector.model.engine import Engine
from training.evaluation.cases import Basis, Case, Cases
from training.evaluation.metrics import average_precision, vus_pr
from training.history.history import History
from training.history.labels import Truth, runs
from training.models.walk import score_streams

#: Of the volume: a smaller difference says nothing. Made faults stand in for those to
#: come, so they must show more than labels.
MARGIN: Mapping[Basis, float] = {"labels": 0.01, "faults": 0.05}
# Rows before a case that a candidate steps through first.
WARM = 4000
# Share of clean points that pass the threshold by which events are found.
CLEAN_SHARE = 0.005
# Points after an event in which a score still finds it.
_LATE = 5


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graph and each stream's row before its first point, float32 [N, S]."""

    name: str
    engine: Engine
    first: F32


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate's figures, means over the cases.

    Attributes:
        vus_pr, auc_pr: areas under precision-recall curves.
        recall: share of events that are found.
        by_kind: ``vus_pr`` of each kind of case.
    """

    name: str
    vus_pr: float
    auc_pr: float
    recall: float
    by_kind: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome.

    Attributes:
        basis: whether labels or made faults judged.
        streams, cases: how many were judged.
        results: the detector's, then the baselines'.
        lead: the detector's volume minus that of the best baseline.
        noise: how much of the lead the comparison can't tell apart.
    """

    basis: Basis
    streams: int
    cases: int
    results: tuple[Result, ...]
    lead: float
    noise: float

    @property
    def best_baseline(self) -> Result:
        return max(self.results[1:], key=lambda result: result.vus_pr)

    @property
    def worse(self) -> bool:
        return self.lead < -self.noise

    @property
    def sentence(self) -> str:
        own = self.results[0]
        best = self.best_baseline
        verdict = "is on a par with"
        if self.lead > self.noise:
            verdict = "beats"
        elif self.worse:
            verdict = "is worse than"
        return (
            f"{own.name} (VUS-PR {own.vus_pr:.3f}) {verdict} the best baseline, "
            f"{best.name} ({best.vus_pr:.3f}); noise {self.noise:.3f}"
        )


def compare_candidates(
    history: History, cases: Cases, candidates: Sequence[Candidate]
) -> Comparison:
    """``candidates``: the detector, then the baselines."""
    results = []
    volumes = []
    for candidate in candidates:
        scores = _scores(candidate, history, cases.cases)
        result, volume = _result(candidate.name, cases, scores)
        results.append(result)
        volumes.append(volume)
    best = max(volumes[1:], key=lambda volume: float(volume.mean()))
    difference = volumes[0] - best
    error = 0.0
    if len(difference) > 1:
        error = float(difference.std(ddof=1)) / np.sqrt(len(difference))
    return Comparison(
        basis=cases.basis,
        streams=len({case.number for case in cases.judged}),
        cases=len(cases.judged),
        results=tuple(results),
        lead=float(difference.mean()),
        noise=max(MARGIN[cases.basis], 2 * float(error)),
    )


def _result(name: str, cases: Cases, scores: Sequence[F32]) -> tuple[Result, F64]:
    """A candidate's figures, and its volume for each case that is judged."""
    thresholds = _thresholds(cases, scores)
    pairs = list(zip(cases.cases, scores, strict=True))
    judged = [(case, s) for case, s in pairs if case.truth.any()]
    volume = np.array([vus_pr(s, case.truth, case.buffer) for case, s in judged])
    precision = [average_precision(s, case.truth) for case, s in judged]
    found = [_found(s, case.truth, thresholds[case.number]) for case, s in judged]
    kinds = np.array([case.kind for case, _ in judged])
    by_kind = {
        kind: float(volume[kinds == kind].mean())
        for kind in dict.fromkeys(kinds.tolist())
    }
    result = Result(
        name=name,
        vus_pr=float(volume.mean()),
        auc_pr=float(np.mean(precision)),
        recall=float(np.concatenate(found).mean()),
        by_kind=by_kind,
    )
    return result, volume


def _thresholds(cases: Cases, scores: Sequence[F32]) -> dict[int, float]:
    """For each stream, the score that :data:`CLEAN_SHARE` of its clean points pass."""
    found = {}
    for case, own in zip(cases.cases, scores, strict=True):
        if cases.basis == "labels" or not case.kind:
            clean = own[~case.truth]
            found[case.number] = float(np.quantile(clean, 1 - CLEAN_SHARE))
    return found


def _scores(
    candidate: Candidate, history: History, cases: Sequence[Case]
) -> Sequence[F32]:
    """Each case's scores, from the state in which its stream arrives there."""
    starts = {case.number: float(case.rows.times[0]) for case in cases}
    numbers = sorted(starts)
    before = []
    for number in numbers:
        series = history.series[number]
        start = int(np.searchsorted(series.times, starts[number]))
        before.append(series.part(max(0, start - WARM), start))
    first = candidate.first[numbers]
    arrived = score_streams(
        candidate.engine,
        before,
        first,
        history.local_times,
    ).rows
    rows = arrived[[numbers.index(case.number) for case in cases]]
    series_of_cases = [case.rows for case in cases]
    return score_streams(
        candidate.engine, series_of_cases, rows, history.local_times
    ).scores


def _found(scores: F32, truth: Truth, threshold: float) -> npt.NDArray[np.bool_]:
    """For each event, whether a score in it or just after reaches the threshold."""
    reached = []
    for first, last in zip(*runs(truth), strict=True):
        peak = scores[first : last + 1 + _LATE].max()
        reached.append(peak >= threshold)
    return np.array(reached)
