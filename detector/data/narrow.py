"""Rows of one metric each, and how they become rows of all features of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.table import StreamFacts, Table
from detector.errors import DataError
from detector.events import I64
from detector.names import encoded


@dataclass(frozen=True, slots=True)
class Narrow:
    """The rows of a file with one metric a row.

    Attributes:
        table: with the one feature ``value``; its facts have a column for each metric.
        metrics: the distinct metrics [M].
        metric: int64 [n], index into ``metrics``.
    """

    table: Table
    metrics: tuple[str, ...]
    metric: I64


def pivoted(found: Narrow, path: Path, features: tuple[str, ...]) -> Table:
    """Rows of one stream and time as one row. Raises DataError."""
    missing = [feature for feature in features if feature not in found.metrics]
    if missing:
        raise DataError(
            f"{path} lacks the bundle's features {', '.join(missing)}:"
            f" it has {', '.join(found.metrics)}"
        )
    table = found.table
    names = features or found.metrics
    column = np.array([_index(names, metric) for metric in found.metrics], np.int64)
    pairs = np.rec.fromarrays([table.stream, table.times])
    _, first, place = np.unique(pairs, return_index=True, return_inverse=True)
    rank = np.argsort(np.argsort(first))  # rows in the order in which they begin
    row = rank[place.ravel()]
    values = np.full((len(first), len(names)), np.nan)
    is_read = column[found.metric] >= 0
    order = np.flatnonzero(is_read)[::-1]  # the first of a repeated cell is kept
    values[row[order], column[found.metric][order]] = table.values[order, 0]
    begins = np.sort(first)
    aside = tuple(metric for metric in found.metrics if metric not in names)
    return replace(
        table,
        features=tuple(names),
        stream=table.stream[begins],
        times=table.times[begins],
        values=values,
        label=None if table.label is None else table.label[begins],
        aside=aside,
        streams=tuple(map(encoded, table.streams)),
        facts=_pivoted_facts(found, column, len(names)),
    )


def _pivoted_facts(found: Narrow, column: I64, features: int) -> StreamFacts | None:
    """The kinds of the features; ``column`` [M] is the feature of each metric."""
    facts = found.table.facts
    if facts is None:
        return None
    kinds = np.zeros((len(found.table.streams), features), np.uint8)
    is_read = column >= 0
    kinds[:, column[is_read]] = facts.kinds[:, is_read]
    return StreamFacts(kinds, facts.labels)


def _index(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -1
