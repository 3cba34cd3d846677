"""Which stream a row belongs to, and which points its numbers are.

There are two ways to key. A bundle of features scores a vector: a row is one point of
its stream. A bundle for any single metric scores each number: a row with m numbers is
one point each of m streams, ``<stream>/<metric>``. :mod:`detector.names` says how a
name is written, so that each pair has one of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, compress, repeat
from typing import Protocol, TypeVar

import numpy as np

from detector.events import F64, I64, U8, Labels, RawBatch
from detector.ingest.rows import (
    CellTotals,
    FeatureValues,
    Flags,
    NamedValues,
    Numbers,
    Rows,
    distinct_names,
)
from detector.names import LONGEST_NAME, MOST_TAGS, encoded_metric
from detector.phrases import listed

HOST = "host"  # the tag that agents name a machine by
_OF_THE_FORM = re.compile(r"[{},=\\]")
_BRACE = r"\{"
_LISTED = 5  # features that a sentence lists
# str: the row names its stream; bytes: the record's key does, which the stream table
# resolves once for each stream; None: nothing does
Names = Sequence[str | bytes | None]
_REMEMBERED = 8192  # names of metrics and of series, whose form is remembered
RowLabels = Sequence[Labels | None] | None
_Column = TypeVar("_Column", F64, U8)
_T = TypeVar("_T")
_NumbersT_contra = TypeVar("_NumbersT_contra", bound=Numbers, contravariant=True)


@dataclass(frozen=True, slots=True)
class Points:
    """The points of the good ones of n rows.

    Attributes:
        names: stream of each of k points.
        values: float64 [k, F], NaN where missing.
        per_row: int64, how many points each good row has; None: one each.
        kinds: uint8 [k, F], a :class:`~detector.events.MetricKind` each; None: unknown.
        starts: float64 [k, F], epoch seconds at which a counter began, NaN where
            unknown; None: all are unknown.
        labels: of each point; None: none has any.
        totals: of means and quantiles of cumulative histograms, by point and metric.
    """

    names: Sequence[str | bytes]
    values: F64
    per_row: I64 | None = None
    kinds: U8 | None = None
    starts: F64 | None = None
    labels: Sequence[Labels | None] | None = None
    totals: CellTotals = field(default_factory=dict)


class Keying(Protocol[_NumbersT_contra]):
    """Turns rows into points of streams."""

    @property
    def wanted(self) -> str:
        """What is wrong with a record without a point."""
        ...

    def points(
        self,
        names: Names,
        numbers: _NumbersT_contra,
        good: Flags | None,
        labels: RowLabels = None,
    ) -> Points:
        """The points of the good rows, which all have a name; None: all are good."""
        ...


class ByStream:
    """A row is one point of its stream. Implements Keying."""

    def __init__(self, features: Sequence[str]) -> None:
        quoted = [f"`{name}`" for name in features]
        self.wanted = f"none of {listed(quoted, _LISTED)} is in it"

    def points(
        self,
        names: Names,
        numbers: FeatureValues,
        good: Flags | None,
        labels: RowLabels = None,
    ) -> Points:
        if good is not None:
            names = list(compress(names, good))
            labels = labels and list(compress(labels, good))
        return Points(
            names=names,  # type: ignore[arg-type]  # good rows have a name
            values=_at(numbers.values, good),
            kinds=None if numbers.kinds is None else _at(numbers.kinds, good),
            starts=None if numbers.starts is None else _at(numbers.starts, good),
            labels=labels,
            totals=_kept(numbers.totals, good),
        )


class ByMetric:
    """Each number of a row is a point of a stream of its own. Implements Keying."""

    wanted = "it has no field that is a number"

    def points(
        self,
        names: Names,
        numbers: NamedValues,
        good: Flags | None,
        labels: RowLabels = None,
    ) -> Points:
        metrics = numbers.names
        counts = numbers.counts
        kept = None
        if good is not None:
            kept = np.repeat(good, counts)
            names = list(compress(names, good))
            labels = labels and list(compress(labels, good))
            metrics = list(compress(metrics, good))
            counts = counts[good]
        streams = _metric_streams(names, metrics)
        return Points(
            names=streams,
            values=_at(numbers.values, kept)[:, None],
            per_row=counts,
            kinds=None if numbers.kinds is None else _at(numbers.kinds, kept)[:, None],
            starts=(
                None if numbers.starts is None else _at(numbers.starts, kept)[:, None]
            ),
            labels=labels and _repeated(labels, counts),
            totals={
                point: {0: each} for point, each in _kept(numbers.totals, kept).items()
            },
        )


def _metric_streams(
    names: Sequence[str | bytes | None], metrics: Sequence[Sequence[str]]
) -> list[str]:
    """The streams of all numbers, row by row.

    Rows of one shape share one sequence of names, and streams come often. So each pair
    of the two is put together once.
    """
    shapes = distinct_names(metrics)
    if len(shapes) == 1:
        of_names = {name: _streams(name, shapes[0]) for name in set(names)}
        if len(of_names) == 1:
            return of_names[names[0]] * len(names)
        return list(chain.from_iterable(map(of_names.__getitem__, names)))
    series = list(zip(names, map(id, metrics), strict=True))
    distinct = dict(zip(series, metrics, strict=True))
    of_series = {pair: _streams(pair[0], of_row) for pair, of_row in distinct.items()}
    return list(chain.from_iterable(map(of_series.__getitem__, series)))


def _streams(name: str | bytes | None, metrics: Sequence[str]) -> list[str]:
    """The streams of the metrics of a row, which has a name."""
    prefix = name.decode() if isinstance(name, bytes) else name
    return [f"{prefix}/{_metric(metric)}" for metric in metrics]


@lru_cache(_REMEMBERED)
def _metric(metric: str) -> str:
    return encoded_metric(metric)


def _at(column: _Column, kept: Flags | None) -> _Column:
    return column if kept is None else column[kept]


def _kept(totals: Mapping[int, _T], kept: Flags | None) -> Mapping[int, _T]:
    """Those of the kept ones, by their place among these."""
    if kept is None or not totals:
        return totals
    places = np.cumsum(kept) - 1
    return {int(places[i]): each for i, each in totals.items() if kept[i]}


def _repeated(labels: Sequence[Labels | None], counts: I64) -> list[Labels | None]:
    """Each row's labels, once for each of its points."""
    if len(counts) == counts.sum() and counts.all():
        return list(labels)
    of_rows = map(repeat, labels, counts.tolist())
    return list(chain.from_iterable(of_rows))


def stream_names(raw: RawBatch, rows: Rows[Numbers]) -> Names:
    """The stream of each row.

    By its own name and its tags, if it has any; else by the record's key.
    """
    named = rows.names
    if rows.tags is not None:
        named = [
            name if tags is None else series_name(name or "", tags) or None
            for name, tags in zip(rows.names, rows.tags, strict=True)
        ]
    unnamed = named.count(None)
    if not unnamed:
        return named
    keys = raw.keys
    if unnamed == len(named) and np.array_equal(rows.records, np.arange(len(keys))):
        return keys
    return [
        keys[i] if name is None else name
        for i, name in zip(rows.records.tolist(), named, strict=True)
    ]


def series_name(measurement: str, tags: Labels) -> str:
    """``host/measurement{tag=value,…}``: the host first, then other tags by their key.

    All tags are part of it, since any of them may tell two series apart. Without a
    ``host`` tag the name begins with the measurement. The record's key is no part of
    it: agents often choose it at random. A backslash keeps apart what a tag's text and
    the form of the name have in common.
    """
    if len(tags) > MOST_TAGS or sum(map(len, tags.values())) > LONGEST_NAME:
        return _series_name(measurement, tuple(tags.items()))  # it is not worth memory
    return _remembered_series_name(measurement, tuple(tags.items()))


def _series_name(measurement: str, tags: tuple[tuple[str, str], ...]) -> str:
    host = dict(tags).get(HOST)
    prefix = "/".join(filter(None, (host, measurement)))
    others = [
        f"{_escaped(key)}={_escaped(text)}" for key, text in sorted(tags) if key != HOST
    ]
    if not others:
        return prefix
    return f"{prefix.replace('{', _BRACE)}{{{','.join(others)}}}"


_remembered_series_name = lru_cache(_REMEMBERED)(_series_name)


def _escaped(text: str) -> str:
    return _OF_THE_FORM.sub(r"\\\g<0>", text) if _OF_THE_FORM.search(text) else text
