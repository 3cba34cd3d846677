"""Rows of several formats as those of one."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import TypeVar

import numpy as np

from detector.events import I64, Labels
from detector.ingest.rows import Numbers, Rows

_NumbersT = TypeVar("_NumbersT", bound=Numbers)
_T = TypeVar("_T")

# rows, and of which message of the whole batch each of their own messages is
Part = tuple[Rows[_NumbersT], Sequence[int]]


def merged(parts: Sequence[Part[_NumbersT]]) -> Rows[_NumbersT]:
    """All rows, in the order of the messages of the whole batch."""
    messages = np.concatenate(
        [np.array(of, np.int64)[rows.records] for rows, of in parts]
    )
    order: I64 | None = np.argsort(messages, kind="stable")
    if (messages[1:] >= messages[:-1]).all():
        order = None  # as they are
    kinds = type(parts[0][0].numbers)
    filled = [rows.numbers for rows, _ in parts if rows.names]
    numbers = kinds.joined(filled or [parts[0][0].numbers])
    return Rows(
        records=messages if order is None else messages[order],
        names=_in_order([rows.names for rows, _ in parts], order),
        stamps=_in_order([rows.stamps for rows, _ in parts], order),
        numbers=numbers if order is None else numbers.take(order),
        tags=_column([(rows.tags, len(rows.names)) for rows, _ in parts], order),
        ignored=_ignored([rows for rows, _ in parts], order),
        faults=[(of[i], fault) for rows, of in parts for i, fault in rows.faults],
        labels=_column([(_labels(rows), len(rows.names)) for rows, _ in parts], order),
        missing=[
            (of[i], metric, why)
            for rows, of in parts
            for i, metric, why in rows.missing
        ],
        without_points=[of[i] for rows, of in parts for i in rows.without_points],
    )


def _in_order(columns: Sequence[Sequence[_T]], order: I64 | None) -> list[_T]:
    whole = list(chain.from_iterable(columns))
    if order is None:
        return whole
    return [whole[row] for row in order.tolist()]


def _labels(rows: Rows[_NumbersT]) -> Sequence[Labels | None] | None:
    return rows.tags if rows.labels is None else rows.labels


def _column(
    parts: Sequence[tuple[Sequence[Labels | None] | None, int]], order: I64 | None
) -> list[Labels | None] | None:
    if all(column is None for column, _ in parts):
        return None
    columns = [[None] * count if column is None else column for column, count in parts]
    return _in_order(columns, order)


def _ignored(parts: Sequence[Rows[_NumbersT]], order: I64 | None) -> I64 | None:
    if all(rows.ignored is None for rows in parts):
        return None
    counts = np.concatenate(
        [
            np.zeros(len(rows.names), np.int64)
            if rows.ignored is None
            else rows.ignored
            for rows in parts
        ]
    )
    return counts if order is None else counts[order]
