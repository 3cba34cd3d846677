"""The parts of a state row follow each other and fill it."""

from __future__ import annotations

import numpy as np
import pytest

from training.models import baselines, multivariate, univariate
from training.models.layout import StateLayout
from training.models.surprise import Front

LAYOUTS = {
    "baseline": baselines.state_layout(4),
    "multivariate": multivariate.state_layout(5, 6, 2),
    "univariate": univariate.state_layout(1, 16, Front()),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_float_belongs_to_one_part(layout: StateLayout) -> None:
    owners = np.zeros(layout.size, int)
    slices = layout.slices()
    for part in slices.values():
        owners[part] += 1
    assert (owners == 1).all()
    assert tuple(part.stop - part.start for part in slices.values()) == layout.widths


def test_parts_are_where_their_order_puts_them() -> None:
    layout = StateLayout(1, (("mean", 2), ("none", 0), ("age", 1)))
    assert layout.slices() == {
        "mean": slice(0, 2),
        "none": slice(2, 2),
        "age": slice(2, 3),
    }
