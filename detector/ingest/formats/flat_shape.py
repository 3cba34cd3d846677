"""What the fields of a flat record of numbers are, by their names alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from detector.ingest.json_objects.field_names import (
    STREAM,
    TIMESTAMP,
    clock_rank,
    is_clock,
    is_id,
    may_be_clock,
)
from detector.ingest.json_objects.metric_fields import NUMBERS
from detector.ingest.row_builder import Row

#: Types of a time.
TIMES: Final = frozenset((float, int, str, type(None)))
_NUMBER_OR_NULL: Final = NUMBERS | {type(None)}


@dataclass(frozen=True, slots=True)
class FlatShape:
    """What the fields of a flat record are. Places count from 0.

    Attributes:
        stream, time: the places of these; None if the record has none.
        guesses: whether the values must be asked what they are.
        is_guessed: the time is only one if its value is a clock's.
        suspects: places of fields that are clocks if their values are.
        dropped: places of all fields that are no metrics, the last first.
        metrics: the names of the rest, in order.
        is_simple: all is a metric but the time, which is one for sure.
    """

    stream: int | None
    time: int | None
    guesses: bool
    is_guessed: bool
    suspects: Sequence[int]
    dropped: Sequence[int]
    metrics: tuple[str, ...]
    is_simple: bool

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether the time is a clock, and no other value is one."""
        if (
            self.is_guessed
            and self.time is not None
            and not is_clock(values[self.time])
        ):
            return False
        has_time = self.time is not None and values[self.time] is not None
        if self.suspects and not has_time:
            return False
        return not any(is_clock(values[place]) for place in self.suspects)


def flat_shape(names: Sequence[str]) -> FlatShape | None:
    """What the fields of these names are if all beside time and stream are numbers."""
    if "" in names:
        return None
    ranks = [clock_rank(name) for name in names]
    clocks = [i for i, rank in enumerate(ranks) if rank is not None]
    time: int | None = None
    if TIMESTAMP in names:
        time = names.index(TIMESTAMP)
    elif clocks:
        time = min(clocks, key=lambda i: ranks[i] or 0)
    stream = names.index(STREAM) if STREAM in names else None
    dropped = {i for i, name in enumerate(names) if is_id(name)}
    dropped |= {place for place in (stream, time) if place is not None}
    is_guessed = time is not None and names[time] != TIMESTAMP
    suspects = [i for i, name in enumerate(names) if may_be_clock(name) and i != time]
    guesses = is_guessed or bool(suspects)
    return FlatShape(
        stream=stream,
        time=time,
        guesses=guesses,
        is_guessed=is_guessed,
        suspects=suspects,
        dropped=sorted(dropped, reverse=True),
        metrics=tuple(name for i, name in enumerate(names) if i not in dropped),
        is_simple=time is not None and dropped == {time} and not guesses,
    )


def without_nulls(row: tuple[Any, ...]) -> Row | None:
    """A flat row without its nulls; None if it holds what is no number."""
    *others, metrics, values = row
    if not _NUMBER_OR_NULL.issuperset(map(type, values)):
        return None
    given = [i for i, value in enumerate(values) if value is not None]
    if not given:
        return None
    message, stream, stamp = others
    names = [metrics[i] for i in given]
    return message, stream, stamp, names, [values[i] for i in given]
