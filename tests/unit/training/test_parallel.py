"""Work on all cores: results in order, progress, and failures that say why."""

from __future__ import annotations

import os

import pytest

from detector.errors import DataError
from training.errors import TrainingError
from training.parallel import ReportProgress, on_cores


def square(number: int, tell: ReportProgress) -> tuple[int, int]:
    tell(number)
    return number * number, os.getpid()


def refuses(number: int, tell: ReportProgress) -> int:
    raise DataError(f"share {number} is broken")


def breaks(number: int, tell: ReportProgress) -> int:
    return 1 // number


def dies(number: int, tell: ReportProgress) -> int:
    os._exit(9)


def test_results_come_in_the_order_of_the_shares_from_processes_of_their_own() -> None:
    reported: list[int] = []
    results = on_cores(square, [3, 1, 2], reported.append)
    assert [r for r, _ in results] == [9, 1, 4]
    assert len({os.getpid(), *(process for _, process in results)}) == 4
    assert sorted(reported) == [1, 2, 3]


def test_a_single_share_stays_in_this_process() -> None:
    assert on_cores(square, [5], lambda count: None) == [(25, os.getpid())]


def test_what_a_worker_refuses_is_raised_here() -> None:
    with pytest.raises(DataError, match="share 7 is broken"):
        on_cores(refuses, [7, 7], lambda count: None)


def test_a_worker_that_breaks_or_dies_ends_the_whole() -> None:
    with pytest.raises(TrainingError, match="ZeroDivisionError"):
        on_cores(breaks, [1, 0], lambda count: None)
    with pytest.raises(TrainingError, match="died"):
        on_cores(dies, [1, 2], lambda count: None)
