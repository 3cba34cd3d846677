"""Law: a record of any bytes is points, rejected or counted, and never an exception.

A few thousand for each format; ``python -m tests.fuzz`` throws as many as one likes.
"""

from __future__ import annotations

import pytest

from tests.fuzz.trial import names, run

RECORDS = 3_000


@pytest.mark.parametrize("name", names())
def test_no_record_vanishes_and_none_raises(name: str) -> None:
    outcome = run(name, RECORDS, seed=1)
    assert outcome.records == RECORDS
    assert outcome.points > 0
    assert outcome.rejected > 0
