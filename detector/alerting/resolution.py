"""Whether an incident is over because its metric came back, or because the stream's
past has taken in where it went.

Theory of operation. The score of a lasting shift comes down by itself once the stream's
own past holds the new values, long before :class:`~detector.alerting.policy.Rules`
would accept it. To tell the two apart the decision row keeps, of the metric that
contributed most when the incident fired, what was seen and what was expected. Where a
metric is nearer to the former when the score has come down, it stayed, and the incident
ends as accepted. Neither knows how a daily rhythm went on meanwhile, but what is
expected now does, though it is on its way to the metric: where that is still a third of
the distance beyond it, on the same side, it stayed as well.

The score is highest where a metric jumps, be it back. What has come at least half the
way back does not make its incident worse: the point at which an outage ends is no time
to page for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from detector.alerting.decide import Decisions
from detector.events import F32, I64, AnomalyKind, Reason, Severity


def record_and_judge(
    decided: Decisions,
    points: I64,
    odd: Mapping[int, AnomalyKind],
    x: F32,
    expected: F32,
    contribution: F32,
) -> None:
    """Of those of a wave's ``points`` that fired, note what was seen and expected;
    those that recovered without coming back are accepted, those that escalated while
    they came back go on as they were.

    Changes ``decided`` in place. ``odd`` says of which points it is not the value that
    is; ``x``, ``expected`` and ``contribution`` [B, F] as of the graph. A metric that
    is missing has not stayed, nor has one that stood still.
    """
    rows = decided.rows
    reason = decided.reason
    for i in points[reason[points] == Reason.FIRED].tolist():
        metric = int(np.argmax(contribution[i]))
        rows["metric"][i] = metric
        rows["expected"][i] = expected[i, metric]
        rows["observed"][i] = (
            np.nan if odd.get(i) is AnomalyKind.FLATLINE else x[i, metric]
        )
    for i in points[
        np.isin(reason[points], (Reason.RECOVERED, Reason.ESCALATED))
    ].tolist():
        metric = int(rows["metric"][i])
        seen = float(rows["observed"][i])
        meant = float(rows["expected"][i])
        observed = float(x[i, metric])
        went = abs(seen - meant)
        if reason[i] == Reason.RECOVERED:
            beyond = math.copysign(1.0, seen - meant) * (
                observed - float(expected[i, metric])
            )
            if abs(observed - seen) < abs(observed - meant) or beyond > went / 3:
                reason[i] = Reason.ACCEPTED
        elif abs(observed - meant) <= went / 2:
            reason[i] = Reason.STILL_FIRING
            rows["severity"][i] = Severity.WARNING
