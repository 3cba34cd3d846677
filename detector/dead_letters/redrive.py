"""Puts dead letters back into the topics they came from, each once.

Theory of operation. Letters go back in Kafka transactions, so a batch is put back whole
or not at all. What was put back is noted by name in a ledger: in the topic of the
letters the note is part of the same transaction. A file can't be, so it notes what is
about to be sent and where the logs end. A run that finds such a note without an end
looks behind those places for what was sent.

A record whose cause lasts would be rejected again, and its new letter put back again.
So each is first read as the daemon would read it now. What only the daemon can tell,
such as a stream that has gone on, is bounded: a record says how often it came back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Protocol

from detector.dead_letters.letter import Letter
from detector.errors import Permanent, RejectReason

#: Letters in one transaction.
BATCH = 500
#: Times that one record is put back: by then somebody must look; by judgement.
MOST_REDRIVES = 3
#: Points that would be rejected again: their streams have gone on.
LATE = frozenset({RejectReason.LATE.value, RejectReason.DUPLICATE.value})


class Ledger(Protocol):
    """Remembers which letters were put back."""

    def done(self) -> Set[str]:
        """Names of all letters that were put back."""
        ...


class Sender(Protocol):
    """Puts letters back."""

    def put_back(self, letters: Sequence[Letter]) -> None:
        """All of them, and notes it, or none.

        Raises Permanent if one can't be put back.
        """
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters to put back.

    Attributes:
        topics: that they came from; empty: all.
        reasons: that they were rejected for; empty: all but those of :data:`LATE`.
        most: times that one record is put back.
    """

    topics: Set[str] = frozenset()
    reasons: Set[str] = frozenset()
    most: float = MOST_REDRIVES

    def takes(self, letter: Letter) -> bool:
        if self.topics and letter.partition.topic not in self.topics:
            return False
        if self.reasons:
            return letter.reason in self.reasons
        return letter.reason not in LATE


@dataclass(slots=True)
class Outcome:
    """What became of the letters that were read.

    Attributes:
        read: letters, repeated ones included.
        put_back: by the topic that they came from.
        before: put back by an earlier run.
        repeated: letters about a record that has another one; a restart repeats them.
        left_out: not selected, by reason.
        not_whole: bytes are missing and the log has the record no more.
        again: would be rejected again, by the reason.
        too_often: came back from being put back, too many times.
        failed: can't be put back, with the cause of each kind.
    """

    read: int = 0
    put_back: Counter[str] = field(default_factory=Counter)
    before: int = 0
    repeated: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    not_whole: int = 0
    again: Counter[str] = field(default_factory=Counter)
    too_often: int = 0
    failed: Counter[str] = field(default_factory=Counter)


def redrive(
    letters: Iterable[Letter],
    done: Set[str],
    selection: Selection,
    whole: Callable[[Letter], Letter | None],
    fault: Callable[[Letter], str | None],
    sender: Sender | None,
) -> Outcome:
    """Put letters back.

    Args:
        letters: in the order in which they are put back.
        done: names of those that an earlier run put back.
        selection: which of them.
        whole: the letter with all its bytes; None if they are gone.
        fault: the reason for which its record would be rejected now, if it would be.
        sender: puts them back; None for a dry run.
    """
    outcome = Outcome()
    chosen = _chosen(letters, done, selection, outcome)
    acceptable = _acceptable(chosen, selection.most, whole, fault, outcome)
    for batch in _batches(acceptable):
        if sender is None:
            outcome.put_back.update(letter.partition.topic for letter in batch)
        else:
            _put_back(batch, sender, outcome)
    return outcome


def _chosen(
    letters: Iterable[Letter],
    done: Set[str],
    selection: Selection,
    outcome: Outcome,
) -> Iterator[Letter]:
    """The letters that are selected; counts the others."""
    seen: set[str] = set()
    for letter in letters:
        outcome.read += 1
        if letter.name in seen:
            outcome.repeated += 1
            continue
        seen.add(letter.name)
        if letter.name in done:
            outcome.before += 1
        elif not selection.takes(letter):
            outcome.left_out[letter.reason] += 1
        else:
            yield letter


def _acceptable(
    letters: Iterable[Letter],
    most: float,
    whole: Callable[[Letter], Letter | None],
    fault: Callable[[Letter], str | None],
    outcome: Outcome,
) -> Iterator[Letter]:
    """The whole letters whose cause is gone; counts the others."""
    for letter in letters:
        complete = whole(letter)
        if complete is None:
            outcome.not_whole += 1
        elif complete.redrives >= most:
            outcome.too_often += 1
        elif (reason := fault(complete)) is not None:
            outcome.again[reason] += 1
        else:
            yield complete


def _batches(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    for letter in letters:
        batch.append(letter)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _put_back(batch: Sequence[Letter], sender: Sender, outcome: Outcome) -> None:
    """All at once; if one can't be, one by one, so that it alone fails."""
    try:
        sender.put_back(batch)
    except Permanent as error:
        if len(batch) == 1:
            outcome.failed[str(error)] += 1
            return
        for letter in batch:
            _put_back([letter], sender, outcome)
    else:
        outcome.put_back.update(letter.partition.topic for letter in batch)
