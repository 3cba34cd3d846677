"""Losses of young streams, which go on although the score has fallen.

Theory of operation. A graph that has seen some hundred points doubts none of them (see
:mod:`training.models.learning_gate`). So it learns a total loss within minutes, and its
score falls while the metric is still at nothing. The value shows that it is. Such an
incident stays open until the metric is back, or until it was lost for as long as the
stream was known before: from there on, nothing is as usual as what was.
"""

from __future__ import annotations

import numpy as np

from detector.alerting.deviations import are_lost
from detector.alerting.thresholds import Bools
from detector.events import F32, F64
from detector.state.decisions import DecisionState

#: Points from which on a graph doubts what it sees, so its score stays up in a loss
#: (training/models/learning_gate.py).
YOUNG = 1000


def go_on_as_losses(rows: DecisionState, times: F64, x: F32) -> Bools:
    """Whether incidents are losses of young streams that are not over, bool [k].

    ``rows`` (DECISION [k]) are those after a point at ``times`` [k], and ``x``
    float32 [k, F] are its values; a missing one is no loss.
    """
    metric = rows["metric"]
    value = x[np.arange(len(rows)), metric]
    expected = rows["expected"]
    # the way back from a burst is no loss; a flatline has no value that it went to
    has_risen = np.abs(rows["observed"]) > np.abs(expected)
    lasted = times - rows["onset"]
    known = rows["steps"] * rows["tick"] - lasted
    is_young = known < YOUNG * rows["tick"]
    is_short = lasted < known
    return np.asarray(are_lost(value, expected) & ~has_risen & is_young & is_short)
