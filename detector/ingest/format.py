"""What a format is: the one method that the decoder calls, and how one is made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from detector.events import Partition
from detector.ingest.messages import Messages
from detector.ingest.rows import FeatureValues, NamedValues, NumbersT_co, Rows

# Fields that are reported, or remembered, one by one. A topic may invent a name for
# each record: neither the log nor a format's memory may grow with them.
MAX_UNKNOWN = 64


class Format(Protocol[NumbersT_co]):
    """Turns messages into rows of numbers.

    Not thread-safe: a format may learn a topic's fields.
    """

    def rows(self, messages: Messages) -> Rows[NumbersT_co]:
        """The rows of a batch's messages; there may be none.

        A message that breaks the format is one of the ``faults`` and raises nothing.
        The format leaves what all formats check to the decoder: size, times, names and
        range.
        """
        ...


class UnknownFields:
    """Reports each field that is ignored once, up to :data:`MAX_UNKNOWN` of them."""

    def __init__(self, report: Callable[[str, Partition, int], None]) -> None:
        self._report = report
        self._reported: set[str] = set()

    def see(self, field: str, messages: Messages, message: int) -> None:
        """A field of one of the messages is ignored."""
        if field in self._reported or len(self._reported) >= MAX_UNKNOWN:
            return
        self._reported.add(field)
        self._report(field, messages.raw.partition, messages.offset(message))


@dataclass(frozen=True, slots=True)
class FormatKind:
    """How a format is made.

    Attributes:
        all_numbers: a format that yields every number of a record, by its name.
        of_features: one that yields known features alone, if the format has a faster
            way than to pick them from all numbers.
    """

    all_numbers: Callable[[UnknownFields], Format[NamedValues]]
    of_features: (
        Callable[[Sequence[str], UnknownFields], Format[FeatureValues]] | None
    ) = None
