"""Normal data that moves: daylight saving, counters, coarse values, slow drift.

The bundle is the one in the package, the streams are made up from fixed seeds. The
budget is one incident a stream-week. The bounds leave room for a bundle that is trained
again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from detector.alerting.policy import AlertTuning
from detector.events import F64, Alert, Phase, Reason
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.model.settings import ModelSettings, TimezoneSettings
from detector.timestamps import DAY, WEEK
from tests.laws.test_new_normal import START, fed

HOUR = 3600.0
Times = npt.NDArray[np.floating[Any]]


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(BUILTIN)


def by_stream(raised: list[Alert], streams: int) -> list[list[float]]:
    """When each stream fired, in order."""
    found: list[list[float]] = [[] for _ in range(streams)]
    for alert in raised:
        if alert.reason is Reason.FIRED:
            number = alert.stream.removeprefix("host-").removesuffix("/cpu")
            found[int(number)].append(alert.at)
    return found


def load_of_the_day(local: Times, rng: np.random.Generator, streams: int) -> F64:
    """Loads [T, N] between 0 and 1 at ``local`` times [T].

    Ten busy hours with steep ends; each stream has its own times.
    """
    noon = rng.random(streams)
    days_from_noon = local[:, None] / DAY - noon
    distance = np.abs((days_from_noon + 0.5) % 1.0 - 0.5)
    steepness = 0.02
    return np.asarray(1.0 / (1.0 + np.exp((distance - 0.2) / steepness)))


def with_noise_and_units(load: F64, rng: np.random.Generator) -> F64:
    """Loads [T, N] with noise, each stream in a unit of its own."""
    noisy = 0.5 + load + 0.04 * rng.normal(size=load.shape)
    units = 10 ** rng.uniform(-2, 6, load.shape[1])
    return np.asarray(noisy * units)


# -- daylight saving -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "before", "after"),
    [("2026-03-29T01:00:00Z", 1, 2), ("2026-10-25T01:00:00Z", 2, 1)],
    ids=["spring", "autumn"],
)
def test_daylight_saving_raises_no_alerts_if_the_zone_is_set(
    bundle: Bundle, change: str, before: int, after: int
) -> None:
    streams = 40
    tick = 900.0
    since = 12
    days = 4
    at = datetime.fromisoformat(change).timestamp()
    ticks = int((since + days) * DAY / tick)
    times = at - since * DAY + tick * np.arange(ticks)
    utc_offset = HOUR * np.where(times < at, before, after)
    rng = np.random.default_rng(1)
    load = load_of_the_day(times + utc_offset, rng, streams)
    values = with_noise_and_units(load, rng)
    # the first forty
    with_zone = ModelSettings(
        timezones=(
            TimezoneSettings(streams="^host-[123]?[0-9]/", zone="Europe/Berlin"),
        )
    )
    raised, _ = fed(bundle, np.tile(values, 2), float(times[0]), tick, with_zone)
    after_change = [alert for alert in raised if alert.at >= at]
    alarms = by_stream(after_change, 2 * streams)
    in_zone = sum(map(len, alarms[:streams]))
    in_utc = sum(map(len, alarms[streams:]))
    budget = streams * days * DAY / WEEK
    assert in_utc >= streams / 4  # which is what a zone is for
    assert in_zone <= min(in_utc / 3, budget)


# -- weekends --------------------------------------------------------------------------


def weekday(times: Times) -> Times:
    """0 is Monday."""
    return np.asarray((times // DAY + 3) % 7)


def test_streams_quiet_at_weekends_soon_stop_alerting_on_mondays(
    bundle: Bundle,
) -> None:
    streams = 40
    tick = 1800.0
    weeks = 7
    start = float(np.ceil(START / WEEK) * WEEK)
    times = start + tick * np.arange(int(weeks * WEEK / tick))
    rng = np.random.default_rng(4)
    weekend = weekday(times) >= 5
    activity = np.where(weekend, 0.5, 1.0)[:, None]
    load = load_of_the_day(times, rng, streams) * activity
    values = with_noise_and_units(load, rng)
    raised, _ = fed(bundle, values, start, tick)
    alarms = np.concatenate(by_stream(raised, streams))
    on_mondays = alarms[weekday(alarms) == 0]
    week = (on_mondays // WEEK - start // WEEK).astype(int)
    mondays = np.bincount(week, minlength=weeks)
    # the budget is three in seven; with one kind of day it was the whole fleet
    assert sum(mondays[-3:]) <= 0.65 * streams, mondays


# -- counters --------------------------------------------------------------------------


def counters(
    ticks: int, tick: float, per_week: F64, seed: int
) -> tuple[F64, list[F64]]:
    """Streams [T, N] that count up, faster by day, and when each restarts from zero."""
    rng = np.random.default_rng(seed)
    streams = len(per_week)
    times = START + tick * np.arange(ticks)
    base_rate = np.exp(rng.uniform(np.log(0.5), np.log(100), streams))
    rate = base_rate * (0.3 + load_of_the_day(times, rng, streams))
    total = np.cumsum(rng.poisson(rate), axis=0).astype(np.float64)
    restarts = rng.random((ticks, streams)) < per_week * tick / WEEK
    total_before = np.concatenate([np.zeros((1, streams)), total[:-1]])
    lost = np.maximum.accumulate(np.where(restarts, total_before, 0.0))
    return total - lost, [times[column] for column in restarts.T]


def test_a_counter_that_never_restarts_has_no_weekend(bundle: Bundle) -> None:
    streams = 25
    tick = 1800.0
    weeks = 6
    ticks = int(weeks * WEEK / tick)
    counts = np.random.default_rng(6).poisson(100, (ticks, streams))
    values = np.cumsum(counts, axis=0).astype(np.float64)
    raised, _ = fed(bundle, values, tick=tick)
    alarms = np.concatenate(by_stream(raised, streams))
    days = weekday(alarms).astype(int)
    of_each_day = np.bincount(days, minlength=7)
    monday, saturday = of_each_day[[0, 5]]
    # two days of seven
    assert monday + saturday <= max(10, 0.5 * len(alarms)), of_each_day


def test_a_restart_of_a_counter_is_no_incident(bundle: Bundle) -> None:
    """Nobody calls it a counter: one that restarts at once is a value at first."""
    streams = 25
    tick = 1800.0
    weeks = 4
    per_week = np.resize([0.5, 2.0, 7.0], streams)
    values, restarts = counters(int(weeks * WEEK / tick), tick, per_week, seed=1)
    raised, _ = fed(bundle, values, tick=tick)
    alarms = by_stream(raised, streams)

    # does each restart of each stream alert?
    alerted = [
        [any(at <= alarm <= at + 6 * tick for alarm in own) for at in whens]
        for own, whens in zip(alarms, restarts, strict=True)
    ]
    first = [own[0] for own in alerted if own]
    later = [is_alerted for own in alerted for is_alerted in own[3:]]
    assert sum(first) <= 0.1 * len(first)
    assert len(later) >= 150
    assert sum(later) <= 0.05 * len(later)
    assert sum(map(len, alarms)) <= streams * weeks
    assert max(map(len, alarms)) <= 2 * weeks


# -- few distinct values ---------------------------------------------------------------


def test_coarse_values_and_flags_stay_within_the_budget(bundle: Bundle) -> None:
    streams = 30
    tick = 600.0
    days = 6
    rng = np.random.default_rng(2)
    times = START + tick * np.arange(int(days * DAY / tick))
    busy = [load_of_the_day(times, rng, streams) for _ in range(3)]
    steps = rng.integers(2, 12, streams)
    noise = rng.uniform(0.02, 0.2, streams)
    noisy = busy[0] + noise * rng.normal(size=busy[0].shape)
    coarse = np.round(steps * noisy) / steps
    whole = np.round(10 + 2 * busy[1] + 0.3 * rng.normal(size=busy[1].shape))
    draws = rng.random(busy[2].shape)
    chance = rng.uniform(0.01, 0.5, streams) * (0.3 + busy[2])
    flags = draws < chance
    values = np.concatenate([coarse, whole, flags], axis=1)
    raised, _ = fed(bundle, values, tick=tick)
    alarms = by_stream(raised, 3 * streams)
    budget = 3 * streams * days * DAY / WEEK
    assert sum(map(len, alarms)) <= budget / 2
    assert max(map(len, alarms)) <= 3


def test_a_constant_never_fires_and_a_small_step_fires_at_most_once(
    bundle: Bundle,
) -> None:
    constant = 20
    stepping = 40
    tick = 600.0
    days = 6
    rng = np.random.default_rng(3)
    times = tick * np.arange(int(days * DAY / tick))
    at = rng.uniform(2 * DAY, (days - 1) * DAY, stepping)
    edge_constants = [0.0, 1.0, -5.0, 1e-9, 16_777_217.0]
    constants = 10 ** rng.uniform(-6, 12, constant - len(edge_constants))
    flat = np.tile(np.concatenate([edge_constants, constants]), (len(times), 1))
    edge_values = [0.0, 1.0, 0.1, 1e3, 1e6]
    whole = rng.integers(2, 1000, stepping - len(edge_values))
    first = np.concatenate([edge_values, whole])
    size = np.where(np.arange(stepping) % 2, 1.0, -1.0)
    has_stepped = times[:, None] >= at
    stepped = first + has_stepped * size
    values = np.concatenate([flat, stepped], axis=1)
    raised, pipeline = fed(bundle, values, tick=tick)
    alarms = by_stream(raised, constant + stepping)
    assert max(map(len, alarms[:constant])) == 0
    assert max(map(len, alarms[constant:])) <= 1
    assert not (pipeline.table.decisions["phase"] == Phase.FIRING).any()


# -- drift -----------------------------------------------------------------------------


def test_a_slow_drift_causes_no_long_incident(
    bundle: Bundle,
) -> None:
    """From the fourth day on, by 1 to 1000 deviations of the noise a day, up or down.

    Two streams in three also have a daily pattern.
    """
    streams = 40
    tick = 1800.0
    days = 13
    begins = 3
    rng = np.random.default_rng(4)
    times = tick * np.arange(int(days * DAY / tick))
    slope = np.resize(
        [1.0, -3.0, 10.0, -100.0, 1000.0, -1.0, 3.0, -10.0, 100.0, -1000.0], streams
    )
    drifted = slope * np.maximum(0.0, times[:, None] / DAY - begins)
    has_pattern = np.arange(streams) % 3 > 0
    pattern = 5.0 * load_of_the_day(times, rng, streams) * has_pattern
    values = 50.0 + pattern + drifted + rng.normal(size=drifted.shape)
    raised, pipeline = fed(bundle, values, tick=tick)
    alarms = by_stream(raised, streams)
    steep = np.flatnonzero(np.abs(slope) >= 100)
    assert all(alarms[stream] for stream in steep)

    # the budget holds, from the third day of the drift on too
    per_day = streams * DAY / WEEK
    settled = begins + 3
    every_alarm = np.concatenate(alarms)
    assert len(every_alarm) <= per_day * days
    late_alarms = every_alarm[every_alarm >= START + settled * DAY]
    assert len(late_alarms) <= per_day * (days - settled)
    assert max(map(len, alarms)) <= 5

    limit = AlertTuning().max_incident
    lengths = [a.ends_at - a.starts_at for a in raised if a.ends_at is not None]
    assert max(lengths) <= limit
    now = START + times[-1]
    decisions = pipeline.table.decisions
    firing = decisions[decisions["phase"] == Phase.FIRING]
    assert (now - firing["onset"] <= limit).all()
