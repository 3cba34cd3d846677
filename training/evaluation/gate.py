"""The detector against the plain baselines on held-out rows: a network that does not
beat them is not worth its weight.

Theory of operation. The detector is the exported graph. Each candidate steps a bounded
number of streams through the same rows: first a few thousand before the held-out rows,
to reach the state that the daemon would have there, then the cases
(:mod:`training.evaluation.cases`).

Two things are measured. How a score *ranks* is the volume under the precision-recall
surface (:mod:`training.evaluation.metrics`). What it *tells* is what the daemon would
page at the budget (:mod:`training.evaluation.at_budget`). Each stream counts once.

The rival is the baseline that ranks best among those that keep to the budget. The
detector is *better* or *worse* only if the interval of the difference says so
(:mod:`training.evaluation.interval`); else both are *on a par*. It is worse only if it
also ranks lower by :data:`MARGIN`, and does not tell more events at the budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.events import F32, F64, I64
from detector.model.engine import Engine
from training.evaluation.at_budget import AtBudget, FitTail, HeldOutScores, at_budget
from training.evaluation.cases import Basis, Case, Cases
from training.evaluation.interval import LEVEL, Interval, mean_interval
from training.evaluation.metrics import average_precision, vus_pr
from training.history.history import History, Split
from training.models.walk import score_streams

#: Of the volume: what is lower by less is not refused. Made faults stand in for those
#: to come, so they must show more than labels. By judgement.
MARGIN: Mapping[Basis, float] = {"labels": 0.01, "faults": 0.05}
# Rows before a case that a candidate steps through first.
WARM = 4000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A graph, each stream's row before its first point, float32 [N, S], and how its
    tail is fitted.
    """

    name: str
    engine: Engine
    first: F32
    fit_tail: FitTail


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate's figures, means over streams.

    Attributes:
        vus_pr, auc_pr: areas under precision-recall curves.
        told: what the daemon would tell at the budget.
        by_kind: ``vus_pr`` of each kind of case.
    """

    name: str
    vus_pr: float
    auc_pr: float
    told: AtBudget
    by_kind: dict[str, float]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome.

    Attributes:
        basis: whether labels or made faults judged.
        why: why made faults judged although there are labels; or empty.
        streams, cases: how many were judged.
        results: the detector's, then the baselines'.
        best_baseline: the rival.
        lead: the detector's volume minus the rival's.
        told_lead: the share of events that it tells minus the rival's.
    """

    basis: Basis
    why: str
    streams: int
    cases: int
    results: tuple[Result, ...]
    best_baseline: Result
    lead: Interval
    told_lead: Interval

    @property
    def better(self) -> bool:
        """Whether it ranks better and does not tell fewer events."""
        return self.lead.is_above and not self.told_lead.is_below

    @property
    def worse(self) -> bool:
        """Whether a fit refuses it."""
        ranks_worse = self.lead.is_below and self.lead.mean < -MARGIN[self.basis]
        return ranks_worse and self.told_lead.mean <= 0

    @property
    def verdict(self) -> str:
        """``better than``, ``worse than``, or ``on a par with`` the rival."""
        if self.better:
            return "better than"
        return "worse than" if self.worse else "on a par with"

    @property
    def sentence(self) -> str:
        """The verdict, with the intervals that it rests on."""
        own = self.results[0]
        rival = self.best_baseline
        ranking = _in_words(self.lead, 3, ("higher", "lower"))
        telling = _in_words(self.told_lead, 2, ("more", "fewer"))
        return (
            f"{own.name} is {self.verdict} the best baseline, {rival.name}. "
            f"It ranks {own.vus_pr:.3f} against {rival.vus_pr:.3f} (VUS-PR): {ranking}. "
            f"At a budget of {own.told.budget:g} a week it tells {_count(own)} events "
            f"against {_count(rival)}: {telling}"
        )


def _count(result: Result) -> str:
    return f"{result.told.told_events} of {result.told.events}"


def _in_words(lead: Interval, digits: int, words: tuple[str, str]) -> str:
    """A difference, its interval, and what that says.

    ``words``: for all of it above zero, and for all of it below.
    """
    mean = f"{lead.mean:+.{digits}f}"
    if not lead.over:
        return f"{mean} in a single case, which decides nothing"
    said = "which has 0 in it and decides nothing"
    if lead.is_above:
        said = f"so {words[0]}"
    elif lead.is_below:
        said = f"so {words[1]}"
    ends = f"{lead.low:+.{digits}f} to {lead.high:+.{digits}f}"
    return f"{mean}, {LEVEL:.0%} interval over {lead.over} {ends}, {said}"


def compare_candidates(
    history: History,
    splits: Sequence[Split],
    cases: Cases,
    candidates: Sequence[Candidate],
    tuning: AlertTuning,
    seed: int,
) -> Comparison:
    """``candidates``: the detector, then the baselines.

    ``tuning``: the rules and the budget that all of them are held to. ``seed``: of the
    intervals.
    """
    measured = []
    for candidate in candidates:
        walked = _walk(candidate, history, splits, cases.cases)
        measured.append(_measure(candidate, cases, walked, tuning))
    streams = np.array([case.number for case in cases.judged])
    kinds = [case.kind for case in cases.judged]
    own = measured[0]
    rival = _rival(measured[1:])
    volumes = own.volume - rival.volume
    told = np.subtract(own.result.told.told, rival.result.told.told)
    return Comparison(
        basis=cases.basis,
        why=cases.why,
        streams=len(np.unique(streams)),
        cases=len(streams),
        results=tuple(m.result for m in measured),
        best_baseline=rival.result,
        lead=mean_interval(volumes, streams, kinds, seed),
        told_lead=mean_interval(told, streams, kinds, seed),
    )


@dataclass(frozen=True, slots=True)
class _Measured:
    """A candidate's figures, and its volume for each case that is judged, [k]."""

    result: Result
    volume: F64


def _rival(baselines: Sequence[_Measured]) -> _Measured:
    """The one that ranks best; one that exceeds the budget only if all do."""
    keeping = [m for m in baselines if not m.result.told.exceeds]
    return max(keeping or baselines, key=lambda m: m.result.vus_pr)


def _measure(
    candidate: Candidate, cases: Cases, walked: _Walked, tuning: AlertTuning
) -> _Measured:
    pairs = list(zip(cases.cases, walked.scores, strict=True))
    judged = [(case, s) for case, s in pairs if case.truth.any()]
    streams = np.array([case.number for case, _ in judged])
    kinds = np.array([case.kind for case, _ in judged])
    volume = np.array([vus_pr(s, case.truth, case.buffer) for case, s in judged])
    precision = np.array([average_precision(s, case.truth) for case, s in judged])
    by_kind = {
        kind: float(volume[kinds == kind].mean())
        for kind in dict.fromkeys(kinds.tolist())
    }
    result = Result(
        name=candidate.name,
        vus_pr=_mean_of_streams(volume, streams),
        auc_pr=_mean_of_streams(precision, streams),
        told=at_budget(
            cases,
            walked.scores,
            walked.earlier,
            candidate.fit_tail,
            tuning,
        ),
        by_kind=by_kind,
    )
    return _Measured(result, volume)


def _mean_of_streams(values: F64, streams: I64) -> float:
    """The mean of the streams' means."""
    return float(np.mean([values[streams == s].mean() for s in np.unique(streams)]))


@dataclass(frozen=True, slots=True)
class _Walked:
    """What a candidate scores.

    Attributes:
        scores: float32 [n_i] of each case.
        earlier: of the rows just before that no weight was fitted to, for calibration.
    """

    scores: Sequence[F32]
    earlier: HeldOutScores


def _walk(
    candidate: Candidate,
    history: History,
    splits: Sequence[Split],
    cases: Sequence[Case],
) -> _Walked:
    """Each case, from the state in which its stream arrives there."""
    starts = {case.number: float(case.rows.times[0]) for case in cases}
    numbers = sorted(starts)
    before = []
    unfitted = []
    for number in numbers:
        series = history.series[number]
        start = int(np.searchsorted(series.times, starts[number]))
        first_row = max(0, start - WARM)
        before.append(series.part(first_row, start))
        unfitted.append(max(0, splits[number].fit - first_row))
    arrived = score_streams(
        candidate.engine,
        before,
        candidate.first[numbers],
        history.local_times,
    )
    rows = arrived.rows[[numbers.index(case.number) for case in cases]]
    scored = score_streams(
        candidate.engine,
        [case.rows for case in cases],
        rows,
        history.local_times,
    )
    pairs = zip(arrived.scores, unfitted, strict=True)
    earlier = HeldOutScores(
        [scores[begin:] for scores, begin in pairs],
        [series.tick for series in before],
    )
    return _Walked(scored.scores, earlier)
