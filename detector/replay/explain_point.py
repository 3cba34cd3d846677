"""explain_point."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from detector.alerting.decide import base_offset
from detector.alerting.policy import AlertPolicy
from detector.alerting.wording import about, observed_in_words
from detector.events import FeatureDeviation, Phase, Reason

_STOOD = 10  # ticks


@dataclass(frozen=True, slots=True)
class Point:
    """One scored point and the decision about it.

    ``row`` is its stream's decision row after it, ``per_week`` as :func:`rarity` takes
    it; ``stood`` for how many seconds the metric that contributed most has had this
    very value.
    """

    stream: str
    at: float
    score: float
    level: float
    reason: Reason
    row: np.void
    per_week: float
    deviations: Sequence[FeatureDeviation]
    stood: float = 0.0


def explained(point: Point, rules: AlertPolicy) -> str:
    """Lines for a person: what was seen, how rare it is, what was decided and what the
    level is made of.
    """
    row = point.row
    when = _moment(point.at)
    shares = ", ".join(
        f"{d.name} {d.contribution:.0%}"
        for d in point.deviations
        if d.contribution >= 0.01
    )
    lines = [
        f"{point.stream} at {when}: {observed_in_words(point.deviations) or 'nothing deviates'}{_stood(point)}.",
        f"Score {point.score:.2f}: a level there would raise an incident {about(point.per_week)} on this stream{_at_least(point)}. "
        f"Shares of the error: {shares or 'none'}.",
        f"Level {point.level:.2f}: {_made_of(point, rules)}.",
        f"{'It fires' if row['phase'] == Phase.FIRING else 'It does not fire'}: {_because(point, rules)}.",
    ]
    return "\n".join(lines)


def _stood(point: Point) -> str:
    """A fact, be it odd or not; values that are the same for a few points are so by
    chance.
    """
    if not point.deviations or not point.stood >= _STOOD * float(point.row["tick"]) > 0:
        return ""
    name, span = max(
        (
            s
            for s in (("min", 60), ("h", 3600), ("d", 86_400))
            if point.stood >= 2 * s[1]
        ),
        key=lambda s: s[1],
        default=("s", 1),
    )
    return f"; {point.deviations[0].name} has stood at this value for {point.stood / span:.0f} {name}"


def _at_least(point: Point) -> str:
    """Rates are counted down to some level: under it they are those of that level."""
    return ", or more often" if point.score < point.level else ""


def _made_of(point: Point, rules: AlertPolicy) -> str:
    row = point.row
    moved = float(
        base_offset(
            np.array([row["steps"]]), np.array([row["tick"]], np.float64), rules
        )[0]
    )
    fleet = float(rules.warning)
    own = float(row["stream_offset"])
    lift = float(row["alarm_penalty"])
    parts = [
        f"{fleet:.2f} for the fleet and the budget",
        f"{own:+.2f} from this stream's own past",
        f"{lift:+.2f} for recent incidents or being new",
    ]
    aged = [f"{moved:+.2f} for its tick and its age"] if abs(moved) >= 0.01 else []
    raised = (
        np.isfinite(row["plateau"]) and point.level > fleet + own + lift + moved + 0.01
    )
    return ", ".join(
        [
            *parts,
            *aged,
            *(
                ["raised to stand above the state accepted as the new normal"]
                if raised
                else []
            ),
        ]
    )


def _because(point: Point, rules: AlertPolicy) -> str:
    row = point.row
    began = f"the incident began at {_moment(float(row['onset']))}"
    return {
        Reason.WARMING: f"the stream has had {row['steps']} of the {rules.warm_up} points that it is watched for first",
        Reason.BELOW_THRESHOLD: f"the score is {point.level - point.score:.2f} under the level",
        Reason.UNCONFIRMED: f"the score is over the level for {row['breach_streak']} of the {rules.breach_steps} points that it takes",
        Reason.COOLDOWN: f"the score is over the level, too soon after the incident that ended at {_moment(float(row['ended']))}",
        Reason.FIRED: began,
        Reason.STILL_FIRING: began,
        Reason.ESCALATED: f"{began} and is critical now",
        Reason.CLEARING: f"{began}; the score is under the clearing level for {row['clear_streak']} points: that takes {rules.clear_steps}, and a quiet stretch",
        Reason.RECOVERED: f"{began} and is over: the score stayed under the clearing level",
        Reason.ACCEPTED: f"{began}, and its state is accepted as the new normal",
    }[point.reason]


def _moment(seconds: float) -> str:
    return (
        datetime.datetime.fromtimestamp(round(seconds), datetime.UTC)
        .isoformat()
        .replace("+00:00", "Z")
        if np.isfinite(seconds)
        else "no time"
    )
