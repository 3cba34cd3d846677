"""Which letters are put back, and that each is put back once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from detector.dead_letters.letter import REDRIVES, Letter
from detector.dead_letters.redrive import (
    BATCH,
    MOST_REDRIVES,
    Outcome,
    Selection,
    redrive,
)
from detector.errors import Permanent
from detector.events import Partition


class Box:
    """Keeps what is put back; refuses a batch with one of ``refused``.

    Implements Sender.
    """

    def __init__(self, refused: Sequence[int] = ()) -> None:
        self.refused = refused
        self.batches: list[list[int]] = []

    def put_back(self, letters: Sequence[Letter]) -> None:
        offsets = [letter.offset for letter in letters]
        if not set(offsets).isdisjoint(self.refused):
            raise Permanent("too large")
        self.batches.append(offsets)


def letter(offset: int, reason: str = "type", topic: str = "metrics") -> Letter:
    return Letter(Partition(topic, 0), offset, reason, "", b"k", b"v")


def run(
    letters: Sequence[Letter],
    box: Box | None = None,
    done: frozenset[str] = frozenset(),
    selection: Selection | None = None,
    fault: Callable[[Letter], str | None] | None = None,
) -> Outcome:
    return redrive(
        letters,
        done,
        selection or Selection(),
        lambda whole: whole,
        fault or (lambda whole: None),
        box,
    )


def test_letters_go_back_in_their_order_and_in_batches() -> None:
    box = Box()
    outcome = run([letter(n) for n in range(BATCH + 3)], box)
    assert [len(batch) for batch in box.batches] == [BATCH, 3]
    assert box.batches[0][:3] == [0, 1, 2]
    assert outcome.put_back == {"metrics": BATCH + 3}


def test_what_was_put_back_before_stays() -> None:
    box = Box()
    outcome = run([letter(1), letter(2)], box, frozenset({letter(1).name}))
    assert box.batches == [[2]]
    assert outcome.before == 1


def test_a_record_with_two_letters_goes_back_once() -> None:
    box = Box()
    assert run([letter(1), letter(1)], box).repeated == 1
    assert box.batches == [[1]]


def test_late_points_stay_unless_they_are_asked_for() -> None:
    letters = [letter(1, "late"), letter(2, "duplicate"), letter(3)]
    box = Box()
    assert run(letters, box).left_out == {"late": 1, "duplicate": 1}
    assert box.batches == [[3]]
    box = Box()
    run(letters, box, selection=Selection(reasons=frozenset({"late"})))
    assert box.batches == [[1]]


def test_a_selection_takes_the_letters_of_its_topics() -> None:
    box = Box()
    letters = [letter(1), letter(2, topic="other")]
    run(letters, box, selection=Selection(topics=frozenset({"other"})))
    assert box.batches == [[2]]


def test_a_letter_that_is_refused_fails_alone() -> None:
    box = Box(refused=[2])
    outcome = run([letter(1), letter(2), letter(3)], box)
    assert box.batches == [[1], [3]]
    assert outcome.failed == {"too large": 1}
    assert outcome.put_back == {"metrics": 2}


def test_a_dry_run_counts_and_sends_nothing() -> None:
    assert run([letter(1), letter(2)]).put_back == {"metrics": 2}


def test_a_letter_whose_bytes_are_gone_is_counted() -> None:
    outcome = redrive(
        [letter(1)],
        set(),
        Selection(),
        lambda whole: None,
        lambda whole: None,
        Box(),
    )
    assert outcome.not_whole == 1
    assert not outcome.put_back


def test_a_record_that_would_be_rejected_again_stays() -> None:
    box = Box()
    faults = {1: "malformed", 2: None, 3: "malformed", 4: "schema"}
    outcome = run([letter(n) for n in faults], box, fault=lambda it: faults[it.offset])
    assert box.batches == [[2]]
    assert outcome.again == {"malformed": 2, "schema": 1}


def test_a_record_that_came_back_too_often_stays_unless_all_are_forced() -> None:
    letters = [
        replace(letter(n), headers=((REDRIVES, str(n).encode()),))
        for n in range(1, MOST_REDRIVES + 2)
    ]
    box = Box()
    assert run(letters, box).too_often == 2
    assert box.batches == [[1, 2]]
    assert not run(letters, Box(), selection=Selection(most=math.inf)).too_often
