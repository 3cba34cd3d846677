"""The held-out rows on which a detector and the baselines are compared.

Theory of operation. The rows are calibration rows, which no weight and no scale was
fitted to. Labels judge them if :data:`ENOUGH_LABELLED` streams have labels there. Fewer
decide nothing, however well they are labelled. Then every stretch is judged in copies
with faults of eight kinds and three sizes (:mod:`training.synthetic.faults`): anything
else that is wrong in the rows counts against all detectors alike. The number of streams
and rows is bounded, so the cost does not grow with the history; same data and seed,
same cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from detector.events import F32
from training.evaluation.metrics import buffer_length
from training.history.history import History, Series, Split
from training.history.labels import Truth, marked
from training.synthetic.faults import (
    KINDS,
    SHORTEST_STRETCH,
    SIZES,
    inject,
    own_spread,
)

Basis = Literal["labels", "faults"]

# Streams, and rows of each, in which faults are made: 25 copies of each take minutes.
STREAMS = 12
STRETCH = 1500
# Streams that are judged by labels, and rows of each.
LABELLED_STREAMS = 32
LABELLED_ROWS = 20_000
# Streams with labels that are enough to judge a fleet. By judgement: of fewer, an
# interval over streams says next to nothing.
ENOUGH_LABELLED = 5
# The buffer of VUS-PR for made faults: points at most, and rows for each.
_BUFFER = 32
_ROWS_PER_BUFFER = 20
_Any = TypeVar("_Any")


@dataclass(frozen=True, slots=True)
class Case:
    """Rows of one stream that are scored.

    Attributes:
        number: the stream's number in the history.
        kind: the kind of fault, or "" for a clean copy. A clean copy sets the
            threshold and is not judged.
        rows: the rows, as a stream of their own.
        truth: bool [n], the rows that are in an event.
        buffer: the longest buffer of VUS-PR, in points.
    """

    number: int
    kind: str
    rows: Series
    truth: Truth
    buffer: int


@dataclass(frozen=True, slots=True)
class Cases:
    """What detectors are compared on, and whether labels or made faults judge them.

    Attributes:
        why: why made faults judge although there are labels; empty if nothing is to be
            said.
    """

    basis: Basis
    cases: tuple[Case, ...]
    why: str = ""

    @property
    def unmarked(self) -> list[Case]:
        """The cases that show what is normal: all that have labels, or clean copies."""
        if self.basis == "labels":
            return list(self.cases)
        return [case for case in self.cases if not case.kind]

    @property
    def judged(self) -> list[Case]:
        """The cases that hold an event."""
        return [case for case in self.cases if case.truth.any()]


def find_cases(history: History, splits: Sequence[Split], seed: int) -> Cases | None:
    """None if the held-out rows are too few to compare on."""
    labelled = Cases("labels", tuple(_labelled_cases(history, splits)))
    count = len(labelled.cases)
    if count >= ENOUGH_LABELLED:
        return labelled
    made = Cases("faults", tuple(_faulty_cases(history, splits, seed)))
    if not made.judged:
        return labelled if count else None
    why = _why_made(count, len(made.unmarked)) if count else ""
    return replace(made, why=why)


def _why_made(labelled: int, streams: int) -> str:
    of = "one stream has" if labelled == 1 else f"{labelled} streams have"
    made = "one stream" if streams == 1 else f"{streams} streams"
    return (
        f"only {of} labels in the held-out rows, which is too few to judge by: "
        f"faults made in {made} judge instead"
    )


def why_no_cases(history: History, splits: Sequence[Split]) -> str:
    """Why :func:`find_cases` found none."""
    held_out = [
        range(part.calibration, len(series))
        for series, part in zip(history.series, splits, strict=True)
    ]
    labelled = any(
        _truth(history, series, rows.start, rows.stop).any()
        for series, rows in zip(history.series, held_out, strict=True)
    )
    if labelled:
        basis = "the labels mark all held-out rows of a stream or none"
    else:
        basis = "no labels in the held-out rows"
    longest = max(len(rows) for rows in held_out)
    if longest < SHORTEST_STRETCH:
        return (
            f"{basis}, and at most {longest} held-out rows in a stream: "
            f"made faults need {SHORTEST_STRETCH}"
        )
    return (
        f"{basis}, and no metric moves in the held-out rows that were looked at: "
        "a made fault would not stand out"
    )


def _truth(
    history: History,
    series: Series,
    start: int,
    stop: int,
) -> Truth:
    """The labelled rows among ``start`` to ``stop`` of a stream."""
    unlabelled = np.zeros((0, 2))
    intervals = history.labels.get(series.name, unlabelled)
    return marked(series.times[start:stop], intervals)


def _labelled_cases(history: History, splits: Sequence[Split]) -> list[Case]:
    """The calibration rows of streams that have labels there."""
    cases = []
    for number, (series, part) in enumerate(zip(history.series, splits, strict=True)):
        start = part.calibration
        truth = _truth(history, series, start, start + LABELLED_ROWS)
        if truth.any() and not truth.all():
            rows = series.part(start, start + LABELLED_ROWS)
            buffer = buffer_length(rows.values)
            cases.append(
                Case(
                    number,
                    "labelled",
                    rows,
                    truth,
                    buffer,
                )
            )
    return _spread(cases, LABELLED_STREAMS)


def _faulty_cases(history: History, splits: Sequence[Split], seed: int) -> list[Case]:
    """For each of a few streams, a clean copy of its last rows and faulty ones."""
    long_enough = [
        number
        for number, (series, part) in enumerate(
            zip(history.series, splits, strict=True)
        )
        if len(series) - part.calibration >= SHORTEST_STRETCH
    ]
    cases = []
    for number in _spread(long_enough, STREAMS):
        series = history.series[number]
        start = max(splits[number].calibration, len(series) - STRETCH)
        rows = series.part(start, len(series))
        cases += _copies(number, rows, own_spread(series.values), seed)
    return cases


def _copies(
    number: int,
    rows: Series,
    spread: F32,
    seed: int,
) -> list[Case]:
    """A clean copy, and one for every kind and size of fault.

    ``spread`` float32 [F] is the unit of each metric's faults.
    """
    buffer = min(_BUFFER, len(rows) // _ROWS_PER_BUFFER)
    nowhere = np.zeros(len(rows), np.bool_)
    cases = [Case(number, "", rows, nowhere, buffer)]
    for k, kind in enumerate(KINDS):
        for grade, size in enumerate(SIZES):
            rng = np.random.default_rng((seed, number, k, grade))
            copy = inject(rows.values, spread, kind, size, rng)
            faulty = replace(rows, values=copy.values)
            cases.append(Case(number, kind, faulty, copy.truth, buffer))
    return cases


def _spread(of: list[_Any], most: int) -> list[_Any]:
    """At most ``most`` of them, evenly over all."""
    if not of:
        return []
    places = np.linspace(0, len(of) - 1, min(most, len(of))).astype(int)
    return [of[i] for i in np.unique(places)]
