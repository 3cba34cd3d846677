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
            found[int(alert.stream.removeprefix("host-").removesuffix("/cpu"))].append(
                alert.at
            )
    return found


def load_of_the_day(local: Times, rng: np.random.Generator, streams: int) -> F64:
    """Loads [T, N] between 0 and 1 at ``local`` times [T].

    Ten busy hours with steep ends; each stream has its own times.
    """
    away = np.abs((local[:, None] / DAY - rng.random(streams) + 0.5) % 1.0 - 0.5)
    return np.asarray(1.0 / (1.0 + np.exp((away - 0.2) / 0.02)))


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
    times = at - since * DAY + tick * np.arange(int((since + days) * DAY / tick))
    rng = np.random.default_rng(1)
    busy = load_of_the_day(
        times + HOUR * np.where(times < at, before, after), rng, streams
    )
    values = (0.5 + busy + 0.04 * rng.normal(size=busy.shape)) * 10 ** rng.uniform(
        -2, 6, streams
    )
    # the first forty
    told = ModelSettings(
        timezones=(
            TimezoneSettings(streams="^host-[123]?[0-9]/", zone="Europe/Berlin"),
        )
    )
    raised, _ = fed(bundle, np.tile(values, 2), float(times[0]), tick, told)
    alarms = by_stream([alert for alert in raised if alert.at >= at], 2 * streams)
    in_zone, in_utc = (
        sum(map(len, half)) for half in (alarms[:streams], alarms[streams:])
    )
    assert in_utc >= streams / 2  # which is what a zone is for
    assert in_zone <= min(in_utc / 3, streams * days * DAY / WEEK)


# -- weekends --------------------------------------------------------------------------


def test_streams_quiet_at_weekends_soon_stop_alerting_on_mondays(
    bundle: Bundle,
) -> None:
    streams = 40
    tick = 1800.0
    weeks = 7
    times = float(np.ceil(START / WEEK) * WEEK) + tick * np.arange(
        int(weeks * WEEK / tick)
    )
    rng = np.random.default_rng(4)
    rests = (times // DAY + 3) % 7 >= 5
    busy = load_of_the_day(times, rng, streams) * np.where(rests, 0.5, 1.0)[:, None]
    raised, _ = fed(
        bundle,
        (0.5 + busy + 0.04 * rng.normal(size=busy.shape))
        * 10 ** rng.uniform(-2, 6, streams),
        float(times[0]),
        tick,
    )
    alarms = [at for own in by_stream(raised, streams) for at in own]
    mondays = [
        sum(
            int(at // WEEK - times[0] // WEEK) == week
            for at in alarms
            if (at // DAY + 3) % 7 == 0
        )
        for week in range(weeks)
    ]
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
    rate = np.exp(rng.uniform(np.log(0.5), np.log(100), streams)) * (
        0.3 + load_of_the_day(times, rng, streams)
    )
    total = np.cumsum(rng.poisson(rate), axis=0).astype(np.float64)
    restarts = rng.random((ticks, streams)) < per_week * tick / WEEK
    lost = np.maximum.accumulate(
        np.where(restarts, np.concatenate([np.zeros((1, streams)), total[:-1]]), 0.0)
    )
    return total - lost, [times[column] for column in restarts.T]


def test_a_counter_that_never_restarts_has_no_weekend(bundle: Bundle) -> None:
    streams = 25
    tick = 1800.0
    weeks = 6
    values = np.cumsum(
        np.random.default_rng(6).poisson(100, (int(weeks * WEEK / tick), streams)),
        axis=0,
    ).astype(np.float64)
    raised, _ = fed(bundle, values, tick=tick)
    days = [int(at // DAY + 3) % 7 for own in by_stream(raised, streams) for at in own]
    turns = sum(day in (0, 5) for day in days)
    # two days of seven
    assert turns <= max(10, 0.5 * len(days)), np.bincount(days, minlength=7)


def test_a_counter_that_has_restarted_before_may_restart_again(bundle: Bundle) -> None:
    streams = 25
    tick = 1800.0
    weeks = 4
    values, restarts = counters(
        int(weeks * WEEK / tick), tick, np.resize([0.5, 2.0, 7.0], streams), seed=1
    )
    raised, _ = fed(bundle, values, tick=tick)
    alarms = by_stream(raised, streams)
    told = [
        [any(at <= alarm <= at + 6 * tick for alarm in own) for at in whens]
        for own, whens in zip(alarms, restarts, strict=True)
    ]
    first = [own[0] for own in told if own]
    later = [one for own in told for one in own[3:]]
    assert sum(first) >= 3  # it is news once
    assert len(later) >= 150
    assert sum(later) <= min(len(later) / 10, len(later) * sum(first) / len(first) / 2)
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
    levels = rng.integers(2, 12, streams)
    noise = rng.uniform(0.02, 0.2, streams)
    few = np.round(levels * (busy[0] + noise * rng.normal(size=busy[0].shape))) / levels
    whole = np.round(10 + 2 * busy[1] + 0.3 * rng.normal(size=busy[1].shape))
    flags = rng.random(busy[2].shape) < rng.uniform(0.01, 0.5, streams) * (
        0.3 + busy[2]
    )
    raised, _ = fed(bundle, np.concatenate([few, whole, flags], axis=1), tick=tick)
    alarms = by_stream(raised, 3 * streams)
    assert sum(map(len, alarms)) <= 3 * streams * days * DAY / WEEK / 2
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
    flat = np.concatenate(
        [[0.0, 1.0, -5.0, 1e-9, 16_777_217.0], 10 ** rng.uniform(-6, 12, constant - 5)]
    )
    first = np.concatenate(
        [[0.0, 1.0, 0.1, 1e3, 1e6], rng.integers(2, 1000, stepping - 5)]
    )
    steps = (times[:, None] >= at) * np.where(np.arange(stepping) % 2, 1.0, -1.0)
    values = np.concatenate([np.tile(flat, (len(times), 1)), first + steps], axis=1)
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
    rhythm = 5.0 * load_of_the_day(times, rng, streams) * (np.arange(streams) % 3 > 0)
    raised, pipeline = fed(
        bundle, 50.0 + rhythm + drifted + rng.normal(size=drifted.shape), tick=tick
    )
    alarms = by_stream(raised, streams)
    assert all(
        own for own, size in zip(alarms, np.abs(slope), strict=True) if size >= 100
    )
    assert sum(map(len, alarms)) <= streams * days * DAY / WEEK
    assert (
        sum(at >= START + (begins + 3) * DAY for own in alarms for at in own)
        <= streams * (days - begins - 3) * DAY / WEEK
    )
    assert max(map(len, alarms)) <= 5
    assert (
        max(a.ends_at - a.starts_at for a in raised if a.ends_at is not None)
        <= AlertTuning().max_incident
    )
    now = START + times[-1]
    still = pipeline.table.decisions["onset"][
        pipeline.table.decisions["phase"] == Phase.FIRING
    ]
    assert (now - still <= AlertTuning().max_incident).all()
