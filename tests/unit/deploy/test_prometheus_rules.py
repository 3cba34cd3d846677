"""Each alerting rule, run through its ``for:`` by the real ``promtool test rules``.

A case is a set of series and what the rule makes of them. Values are in promtool's
notation, one a minute: ``0+10x30`` starts at 0 and adds 10 thirty times, ``_`` is a
missing scrape. Skipped with the reason if promtool cannot be had.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

RULES = Path(__file__).parents[3] / "deploy" / "prometheus-rules.yaml"
JOB = 'job="streamwarden",instance="one:8080"'
MINUTES = 60  # every series is longer than this

NEVER = -1


def series(name: str, *labels: str) -> str:
    return f"{name}{{{','.join([JOB, *labels])}}}"


UP = series("up")
READY = series("detector_ready")
RELOADED = series("detector_last_reload_successful")
LAG = series("detector_lag_records")
RECORDS = series("detector_records_total")
LOST = series("detector_lost_records_total")
HELD = series("detector_held_partitions")
LATE = series("detector_rejected_total", 'reason="late"')
NOT_JSON = series("detector_rejected_total", 'reason="not_json"')
SPLIT = series("detector_split_streams_total")
AGE = series("detector_checkpoint_age_seconds")
INTERVAL = series("detector_checkpoint_interval_seconds")
FAILED = series("detector_checkpoints_total", 'outcome="failed"')
WRITTEN = series("detector_checkpoints_total", 'outcome="written"')
RESETS = series("detector_state_resets_total")
STREAMS = series("detector_streams")
FLEET = series("detector_fleet_streams")
WAITING = series("detector_notifications_waiting")
DELIVERED = series("detector_notifications_total", 'outcome="delivered"')
DEAD = series("detector_notifications_total", 'outcome="dead_lettered"')
RETRIED_HOOK = series("detector_posts_total", 'receiver="hook"', 'outcome="retried"')
DONE_HOOK = series("detector_posts_total", 'receiver="hook"', 'outcome="delivered"')
DONE_PAGER = series("detector_posts_total", 'receiver="pager"', 'outcome="delivered"')


@dataclass(frozen=True)
class Case:
    """``fires`` is the first minute at which the rule fires; :data:`NEVER`: at none."""

    name: str
    rule: str
    values: Mapping[str, str]
    fires: int


CASES = [
    Case("dead", "Down", {UP: "1x9 0x90"}, 12),
    Case("restarted", "Down", {UP: "1x9 0 1x90"}, NEVER),
    Case("no target", "Absent", {}, 10),
    Case("a target that is down", "Absent", {UP: "0x90"}, NEVER),
    Case("no partition", "NotReady", {READY: "1x9 0x90"}, 20),
    Case("a rebalance", "NotReady", {READY: "1x9 0x5 1x90"}, NEVER),
    Case("a faulty file", "ReloadRefused", {RELOADED: "1x9 0x90"}, 15),
    Case("a fault corrected", "ReloadRefused", {RELOADED: "1x9 0x3 1x90"}, NEVER),
    Case(
        "lag grows beyond five minutes",
        "Behind",
        {LAG: "0+30000x90", RECORDS: "0+60000x90"},
        21,
    ),
    Case(
        "lag shrinks",
        "Behind",
        {LAG: "9000000-30000x90", RECORDS: "0+60000x90"},
        NEVER,
    ),
    Case(
        "lag grows and is small",
        "Behind",
        {LAG: "0+1000x90", RECORDS: "0+60000x90"},
        NEVER,
    ),
    Case("nothing assigned", "Behind", {LAG: "NaN " * MINUTES, RECORDS: "0x90"}, NEVER),
    Case("records lost", "LostRecords", {LOST: "0x9 500x90"}, 10),
    Case("lost before the first scrape", "LostRecords", {LOST: "_x9 500x90"}, 9),
    Case("none lost", "LostRecords", {LOST: "0x90"}, NEVER),
    Case("a partition waits", "Unreadable", {HELD: "0x9 1x90"}, 15),
    Case("a partition waited", "Unreadable", {HELD: "0x9 1 0x90"}, NEVER),
    Case(
        "2 % rejected",
        "Rejecting",
        {RECORDS: "0+1000x90", LATE: "0+10x90", NOT_JSON: "0+10x90"},
        11,
    ),
    Case(
        "half a per cent rejected",
        "Rejecting",
        {RECORDS: "0+1000x90", LATE: "0+5x90", NOT_JSON: "0x90"},
        NEVER,
    ),
    Case("a stream on two partitions", "SplitStreams", {SPLIT: "0x9 1x90"}, 10),
    Case("keyed by stream", "SplitStreams", {SPLIT: "0x90"}, NEVER),
    Case(
        "no checkpoint at the default interval",
        "NotCheckpointing",
        {AGE: "0+60x90", INTERVAL: "10x90"},
        3,
    ),
    Case(
        "no checkpoint at an interval of 300 s",
        "NotCheckpointing",
        {AGE: "0+60x90", INTERVAL: "300x90"},
        18,
    ),
    Case(
        "checkpoints at an interval of 300 s",
        "NotCheckpointing",
        {AGE: "0+60x5 " * 12, INTERVAL: "300x90"},
        NEVER,
    ),
    Case(
        "checkpoints fail",
        "CheckpointsFail",
        {FAILED: "0x9 1+1x90", WRITTEN: "0+1x90"},
        15,
    ),
    Case(
        "checkpoints succeed",
        "CheckpointsFail",
        {FAILED: "0x90", WRITTEN: "0+1x90"},
        NEVER,
    ),
    Case("a state reset", "StateResets", {RESETS: "0x9 1x90"}, 10),
    Case("resets at the start", "StateResets", {RESETS: "_x9 240x90"}, 9),
    Case("states kept", "StateResets", {RESETS: "0x90"}, NEVER),
    Case(
        "twice the stated streams",
        "FleetOutgrewBudget",
        {STREAMS: "240x9 480x90", FLEET: "240x99"},
        40,
    ),
    Case(
        "a few streams more than stated",
        "FleetOutgrewBudget",
        {STREAMS: "300x90", FLEET: "240x90"},
        NEVER,
    ),
    Case(
        "a budget of each stream",
        "FleetOutgrewBudget",
        {STREAMS: "480x90", FLEET: "NaN " * MINUTES},
        NEVER,
    ),
    Case(
        "nothing acknowledged",
        "NotDelivering",
        {WAITING: "5x90", DELIVERED: "7x90"},
        11,
    ),
    Case(
        "slow but acknowledged",
        "NotDelivering",
        {WAITING: "5x90", DELIVERED: "0+1x90"},
        NEVER,
    ),
    Case(
        "nothing to deliver",
        "NotDelivering",
        {WAITING: "0x90", DELIVERED: "7x90"},
        NEVER,
    ),
    Case(
        "one receiver of two is down",
        "ReceiverDown",
        {RETRIED_HOOK: "0+1x90", DONE_HOOK: "3x90", DONE_PAGER: "0+1x90"},
        11,
    ),
    Case(
        "a receiver that answers now and then",
        "ReceiverDown",
        {RETRIED_HOOK: "0+1x90", DONE_HOOK: "0+1x90"},
        NEVER,
    ),
    Case("refused for good", "DeadLetteredAlerts", {DEAD: "0x9 1x90"}, 10),
    Case("none refused", "DeadLetteredAlerts", {DEAD: "0x90"}, NEVER),
]


def names_of_rules() -> set[str]:
    return set(re.findall(r"- alert: Streamwarden(\w+)", RULES.read_text()))


def firing_at(rule: str, minute: int, firing: bool) -> dict[str, object]:
    """What promtool is to find at a minute."""
    alert = f'alertname="Streamwarden{rule}",alertstate="firing"'
    found = [{"labels": "{}", "value": 1}] if firing else []
    return {
        "expr": f"count(ALERTS{{{alert}}})",
        "eval_time": f"{minute}m",
        "exp_samples": found,
    }


def expectations(case: Case) -> list[dict[str, object]]:
    if case.fires == NEVER:
        minutes = range(0, MINUTES, 5)
        return [firing_at(case.rule, minute, False) for minute in minutes]
    return [
        firing_at(case.rule, case.fires - 1, False),
        firing_at(case.rule, case.fires, True),
        firing_at(case.rule, case.fires + 5, True),
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.rule}-{case.name}")
def test_a_rule_fires_when_it_should(
    case: Case, promtool: Path, tmp_path: Path
) -> None:
    inputs = [{"series": s, "values": v} for s, v in case.values.items()]
    test = {
        "interval": "1m",
        "input_series": inputs,
        "promql_expr_test": expectations(case),
    }
    content = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [test],
    }
    # JSON is YAML
    path = tmp_path / "test.yaml"
    path.write_text(json.dumps(content))
    done = subprocess.run(
        [promtool, "test", "rules", path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_case_that_fires_and_one_that_does_not() -> None:
    firing = {case.rule for case in CASES if case.fires != NEVER}
    silent = {case.rule for case in CASES if case.fires == NEVER}
    assert firing == silent == names_of_rules()
