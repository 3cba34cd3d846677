"""Rows of several formats as those of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, repeat
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
    order = np.argsort(messages, kind="stable")
    kinds = type(parts[0][0].numbers)
    numbers = kinds.joined([rows.numbers for rows, _ in parts])
    return Rows(
        records=messages[order],
        names=_in_order([rows.names for rows, _ in parts], order),
        stamps=_in_order([rows.stamps for rows, _ in parts], order),
        numbers=numbers.take(order),
        tags=_column([(rows.tags, len(rows.names)) for rows, _ in parts], order),
        ignored=_ignored([rows for rows, _ in parts])[order],
        faults=[(of[i], fault) for rows, of in parts for i, fault in rows.faults],
        labels=_column([(_labels(rows), len(rows.names)) for rows, _ in parts], order),
        missing=[
            (of[i], metric, why)
            for rows, of in parts
            for i, metric, why in rows.missing
        ],
        without_points=[of[i] for rows, of in parts for i in rows.without_points],
    )


def _in_order(columns: Sequence[Sequence[_T]], order: I64) -> list[_T]:
    whole = list(chain.from_iterable(columns))
    return [whole[row] for row in order.tolist()]


def _labels(rows: Rows[_NumbersT]) -> Sequence[Labels | None] | None:
    return rows.tags if rows.labels is None else rows.labels


def _column(
    parts: Sequence[tuple[Sequence[Labels | None] | None, int]], order: I64
) -> list[Labels | None] | None:
    if all(column is None for column, _ in parts):
        return None

    def whole() -> Iterator[Labels | None]:
        for column, count in parts:
            yield from repeat(None, count) if column is None else column

    return _in_order([list(whole())], order)


def _ignored(parts: Sequence[Rows[_NumbersT]]) -> I64:
    return np.concatenate(
        [
            np.zeros(len(rows.names), np.int64)
            if rows.ignored is None
            else rows.ignored
            for rows in parts
        ]
    )
