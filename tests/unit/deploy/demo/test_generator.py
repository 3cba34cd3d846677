"""The demo's metrics: repeatable, lifelike enough to be worth detecting in, and visibly
broken by each fault.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from deploy.demo.generator import (
    CPU,
    F64,
    FEATURES,
    LATENCY,
    MEMORY,
    REQUESTS,
    START,
    TICK_S,
    Fault,
    Kind,
    Metrics,
    plan,
    stream_name,
)
from deploy.demo.history import write_history
from detector.data.wide import read_table
from detector.timestamps import DAY

HOSTS = 6


def run(
    ticks: int, *, seed: int = 7, hosts: int = HOSTS, faults: Sequence[Fault] = ()
) -> F64:
    """Values [ticks, hosts, features]."""
    metrics = Metrics(hosts, seed=seed, faults=faults)
    return np.stack([metrics.tick()[1] for _ in range(ticks)])


def fault(kind: Kind, host: int = 0) -> Fault:
    """It shows at ticks 300 to 419."""
    start = START + 300 * TICK_S
    return Fault(host, stream_name(host), kind, start, start + 120 * TICK_S)


def test_the_same_seed_gives_the_same_numbers() -> None:
    np.testing.assert_array_equal(run(50), run(50))
    assert not np.array_equal(run(50), run(50, seed=8), equal_nan=True)


def test_ticks_follow_each_other_at_the_interval() -> None:
    metrics = Metrics(HOSTS)
    times = [metrics.tick()[0] for _ in range(3)]
    assert times == [START, START + TICK_S, START + 2 * TICK_S]


def test_a_host_has_the_same_character_in_a_larger_fleet() -> None:
    small = run(1440)
    large = run(1440, hosts=40)[:, :HOSTS]
    means = np.nanmean(large, axis=0)
    np.testing.assert_allclose(np.nanmean(small, axis=0), means, rtol=0.15)


def test_metrics_have_a_daily_rhythm_and_move_together() -> None:
    day = run(round(DAY / TICK_S))
    requests = day[:, :, REQUESTS]
    cpu = day[:, :, CPU]
    afternoon = np.nanmean(requests[780:1020], axis=0)
    night = np.nanmean(requests[60:300], axis=0)
    assert (afternoon > 1.3 * night).all()
    for host in range(HOSTS):
        is_seen = np.isfinite(requests[:, host]) & np.isfinite(cpu[:, host])
        pair = requests[is_seen, host], cpu[is_seen, host]
        assert np.corrcoef(*pair)[0, 1] > 0.9


def test_shares_stay_between_zero_and_one() -> None:
    faults = [fault(Kind.LEVEL_SHIFT, host) for host in range(HOSTS)]
    shares = run(400, faults=faults)[:, :, [CPU, MEMORY]]
    assert np.nanmin(shares) >= 0
    assert np.nanmax(shares) <= 1


@pytest.mark.parametrize(
    ("kind", "feature", "low", "high"),
    [
        (Kind.LEVEL_SHIFT, LATENCY, 2.1, 2.3),
        (Kind.SPIKE_TRAIN, REQUESTS, 1.5, 1.8),
        (Kind.DECOUPLING, REQUESTS, 0.24, 0.26),
        (Kind.SLOW_LEAK, MEMORY, 1.2, 2.5),
    ],
)
def test_a_fault_changes_its_host_while_it_lasts(
    kind: Kind, feature: int, low: float, high: float
) -> None:
    healthy = run(500)
    spoiled = run(500, faults=[fault(kind)])
    ratio = spoiled[300:420, 0, feature] / healthy[300:420, 0, feature]
    assert low < np.nanmean(ratio) < high
    np.testing.assert_array_equal(spoiled[:300], healthy[:300])
    np.testing.assert_array_equal(spoiled[420:], healthy[420:])
    np.testing.assert_array_equal(spoiled[:, 1:], healthy[:, 1:])


def test_decoupled_requests_leave_the_other_metrics_alone() -> None:
    others = [CPU, MEMORY, LATENCY]
    healthy = run(420)[:, 0, others]
    spoiled = run(420, faults=[fault(Kind.DECOUPLING)])[:, 0, others]
    np.testing.assert_array_equal(spoiled, healthy)


def test_a_flatline_keeps_its_last_value() -> None:
    spoiled = run(420, faults=[fault(Kind.FLATLINE)])[300:420, 0]
    for feature in (CPU, LATENCY):
        values = spoiled[:, feature]
        assert len(np.unique(values[np.isfinite(values)])) == 1
    assert np.nanstd(spoiled[:, REQUESTS]) > 0


def test_a_plan_has_every_kind_and_a_host_for_each_fault() -> None:
    end = START + DAY
    faults = plan(300, 20, begin=START, end=end)
    starts = [f.start for f in faults]
    assert {f.kind for f in faults} == set(Kind)
    assert len({f.host for f in faults}) == 20
    assert starts == sorted(starts)
    assert all(START <= start < end for start in starts)
    assert all(start % TICK_S == 0 for start in starts)
    assert faults == plan(300, 20, begin=START, end=end)


def test_a_plan_never_holds_more_faults_than_hosts() -> None:
    assert len(plan(3, 20, begin=START, end=START + DAY)) == 3


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_history_reads_back_as_training_data(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"history.{suffix}"
    hidden = write_history(path, hosts=3, days=0.25, faults=2)
    table = read_table(path)
    assert table.features == FEATURES
    assert table.streams == ("host-001", "host-002", "host-003")
    assert len(table) == 3 * 360
    assert table.times.max() == START - TICK_S
    assert 0 < np.isnan(table.values).sum() < 0.02 * table.values.size
    assert table.label is None
    assert len(hidden) == 2


def test_the_demo_needs_no_file_reader() -> None:
    """Its environment has none: see the extra ``demo``."""
    code = "import sys; sys.modules['pyarrow'] = None; import deploy.demo.__main__"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
