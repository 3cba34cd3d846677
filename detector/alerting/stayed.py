"""Whether an incident is over because its metric came back, or because the stream's past has taken in where it went.

Theory of operation. The score of a lasting shift comes down by itself once the stream's own past holds the new values, long before
:class:`~detector.alerting.decide.Rules` would accept it. To tell the two apart the decision row keeps, of the metric that contributed most when
the incident fired, what was seen and what was expected. When the score has come down, what is seen and what is expected are one again: where the
expectation made the longer way, the metric stayed, and the incident ends as accepted.
"""

from __future__ import annotations

import numpy as np

from detector.alerting.decide import Decided
from detector.events import F32, I64, Reason


def settle(decided: Decided, points: I64, x: F32, expected: F32, contribution: F32) -> None:
    """Of those of a wave's ``points`` that fired, note what was seen and expected; those that recovered without coming back are accepted.

    Changes ``decided`` in place. ``x``, ``expected`` and ``contribution`` [B, F] as of the graph; a metric that is missing has not stayed.
    """
    rows, reason = decided.rows, decided.reason
    for i in points[reason[points] == Reason.FIRED].tolist():
        metric = int(np.argmax(contribution[i]))
        rows["metric"][i], rows["seen"][i], rows["meant"][i] = metric, x[i, metric], expected[i, metric]
    for i in points[reason[points] == Reason.RECOVERED].tolist():
        row = rows[i]
        metric, seen, meant = int(row["metric"]), float(row["seen"]), float(row["meant"])
        if abs(float(x[i, metric]) - seen) < abs(float(expected[i, metric]) - meant):
            reason[i] = Reason.ACCEPTED
