"""Which incidents may not begin, by their values and by the operator's rules.

An incident begins unless every metric that leads it is refused: because it hardly
deviates, or by the rule that holds for it. A rule can also cap how grave an incident
gets. All of this is asked only at those few points that begin or change an incident.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from detector.alerting.decide import Decisions
from detector.alerting.deviations import are_negligible, leading
from detector.alerting.points import one_more
from detector.alerting.policy import AlertPolicy
from detector.alerting.resolution import Values
from detector.alerting.rules import Rule
from detector.alerting.thresholds import Bools
from detector.events import I64, AnomalyKind, Reason
from detector.model.bundle import Bundle
from detector.state.table import StreamTable

_STILL_FIRING: Final = np.uint8(Reason.STILL_FIRING)
_RETURNED: Final = np.uint8(Reason.RETURNED)


class Refusals:
    """Asks the policy and its rules. One thread at a time."""

    def __init__(self, bundle: Bundle, table: StreamTable, policy: AlertPolicy) -> None:
        self._bundle = bundle
        self._table = table
        self._policy = policy

    def refused(
        self,
        slots: I64,
        began: I64,
        kinds: Mapping[int, AnomalyKind],
        values: Values,
    ) -> I64:
        """Those of the points ``began`` [k] of a wave that may not begin an incident.

        ``slots`` [B] and ``values`` [B, F] are those of the wave. ``kinds`` maps points
        whose value is normal to what is not.
        """
        chosen = values.at(began)
        least = self._policy.min_relative_deviation
        parts = (chosen.x, chosen.expected, chosen.contribution)
        is_still = np.array(
            [kinds.get(i) is AnomalyKind.FLATLINE for i in began.tolist()], np.bool_
        )
        if not self._policy.rules:
            return began[are_negligible(*parts, least) & ~is_still]
        is_leading = leading(chosen.contribution) & ~np.isnan(chosen.x)
        refused = [
            self._refuses(int(slots[i]), chosen, place, is_leading, bool(still))
            for place, (i, still) in enumerate(
                zip(began.tolist(), is_still.tolist(), strict=True)
            )
        ]
        return began[np.array(refused, np.bool_)]

    def cap(self, slots: I64, points: I64, decided: Decisions, metric: I64) -> None:
        """Keep incidents under the cap of their rule. Changes ``decided`` in place.

        An incident that grew is told although it may not become critical: one that is
        open must not hide an outage. ``points`` [k] begin or change an incident, and
        ``metric`` [k] leads each.
        """
        for i, j in zip(points.tolist(), metric.tolist(), strict=True):
            rule = self._rule(int(slots[i]), j)
            if rule is None or rule.most_severe is None:
                continue
            if decided.rows["severity"][i] <= rule.most_severe:
                continue
            decided.rows["severity"][i] = rule.most_severe
            if decided.reason[i] == Reason.ESCALATED:
                decided.reason[i] = _STILL_FIRING
                if decided.has_grown[i]:
                    _return(decided, i)

    def _refuses(
        self, slot: int, values: Values, place: int, is_leading: Bools, is_still: bool
    ) -> bool:
        """Whether each metric that leads at this place is refused, and there is one."""
        metrics = np.flatnonzero(is_leading[place]).tolist()
        return bool(metrics) and all(
            self._refuses_metric(slot, values, place, j, is_still=is_still)
            for j in metrics
        )

    def _refuses_metric(
        self, slot: int, values: Values, place: int, j: int, *, is_still: bool
    ) -> bool:
        observed = float(values.x[place, j])
        expected = float(values.expected[place, j])
        rule = self._rule(slot, j)
        if rule is not None and rule.refuses(observed, expected, is_still=is_still):
            return True
        has_own = rule is not None and rule.least_relative is not None
        if has_own or is_still:
            return False
        larger = max(abs(observed), abs(expected))
        least = self._policy.min_relative_deviation * larger
        return abs(observed - expected) < least

    def _rule(self, slot: int, metric: int) -> Rule | None:
        stream = self._table.names[slot]
        features = self._bundle.features_of(stream)
        labels = self._table.labels[slot]
        return self._policy.rules.of(stream, features[metric].name, labels)


def _return(decided: Decisions, point: int) -> None:
    """Tell an open incident once more, and count it. Changes ``decided`` in place."""
    decided.reason[point] = _RETURNED
    told = decided.rows[point : point + 1]
    told["repeats"] = one_more(told["repeats"])
    told["has_calmed"] = 0
