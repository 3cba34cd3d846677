"""What the clocks on the wall show, before and after each change, for streams of
several zones at once.
"""

from __future__ import annotations

import re
from datetime import UTC as UTC_CLOCK
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.events import F64, Partition
from detector.model.bundle import BUILTIN, load_bundle
from detector.model.engine import clock_input
from detector.model.local_time import UTC
from detector.model.settings import ModelSettings, TimezoneSettings, zones_of
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.row_memory import PAGE
from detector.state.table import StreamTable

P = Partition("metrics", 0)
NAMES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
)
MANY = zones_of("UTC", tuple((re.compile(name), name) for name in NAMES[1:]))


def at(text: str) -> F64:
    return np.array(
        [datetime.fromisoformat(text).replace(tzinfo=UTC_CLOCK).timestamp()]
    )


@pytest.mark.parametrize(
    ("zone", "utc", "hour", "day"),
    [
        # a second before they put it forward
        ("Europe/Berlin", "2026-03-29T00:59:59", 1 + 3599 / 3600, 6),
        ("Europe/Berlin", "2026-03-29T01:00:00", 3, 6),
        # and before they put it back
        ("Europe/Berlin", "2026-10-25T00:59:59", 2 + 3599 / 3600, 6),
        ("Europe/Berlin", "2026-10-25T01:00:00", 2, 6),
        ("Europe/Berlin", "2026-07-31T22:30:00", 0.5, 5),  # Saturday begins
        ("America/New_York", "2026-03-08T06:59:59", 1 + 3599 / 3600, 6),
        ("America/New_York", "2026-03-08T07:00:00", 3, 6),
        ("America/New_York", "2026-11-01T05:59:59", 1 + 3599 / 3600, 6),
        ("America/New_York", "2026-11-01T06:00:00", 1, 6),
        ("America/New_York", "2026-01-05T03:00:00", 22, 6),  # still Sunday
        ("Asia/Kolkata", "2026-01-01T18:15:00", 23.75, 3),
        ("Asia/Kolkata", "2026-01-01T18:45:00", 0.25, 4),
        ("UTC", "2026-03-29T01:00:00", 1, 6),
    ],
)
def test_hour_and_day_are_those_of_the_wall(
    zone: str, utc: str, hour: float, day: int
) -> None:
    zones = zones_of(zone)
    clock = clock_input(np.array([60.0]), zones.local_times(at(utc), zones.default))
    assert clock[0] == pytest.approx([60, 3600 * hour, day])


@given(
    st.lists(
        st.tuples(st.integers(0, 4_102_444_800), st.integers(0, len(NAMES) - 1)),
        max_size=40,
    )
)
def test_a_wave_of_many_zones_shows_each_ones_own_time(
    points: list[tuple[int, int]],
) -> None:
    times = np.array([t for t, _ in points], np.float64)
    zones = np.array([z for _, z in points], np.int16)
    wall = MANY.local_times(times, zones).tolist()
    for shown, (t, z) in zip(wall, points, strict=True):
        there = datetime.fromtimestamp(t, ZoneInfo(NAMES[z]))
        assert datetime.fromtimestamp(shown, UTC_CLOCK).replace(
            tzinfo=None
        ) == there.replace(tzinfo=None)


def test_what_is_all_in_utc_is_not_even_copied() -> None:
    times = at("2026-03-29T01:00:00")
    assert UTC.only_utc
    assert UTC.local_times(times, np.zeros(1, np.int16)) is times
    assert MANY.local_times(times, np.zeros(1, np.int16)) is times
    assert zones_of("UTC", ((re.compile("x"), "UTC"),)).only_utc


def test_the_first_rule_that_is_found_in_a_streams_name_decides() -> None:
    rules = (
        TimezoneSettings(streams="^eu-", zone="Europe/Berlin"),
        TimezoneSettings(streams="1", zone="Asia/Kolkata"),
    )
    zones = ModelSettings(timezone="America/New_York", timezones=rules).zones(
        load_bundle(BUILTIN)
    )
    noon = at("2026-01-01T12:00:00")
    hours = {
        name: float(zones.local_times(noon, zones.zone_of(name))[0] - noon[0]) / 3600
        for name in ("eu-1/cpu", "x-eu-1", "us-2")
    }
    assert hours == {"eu-1/cpu": 1, "x-eu-1": 5.5, "us-2": -5}


def test_each_row_has_its_streams_zone_new_restored_moved_or_reused() -> None:
    rules = ((re.compile("^eu-"), "Europe/Berlin"),)
    zones = zones_of("UTC", rules)

    def table() -> StreamTable:
        none = np.zeros((0, 3), np.float32)
        made = StreamTable(
            InitialStates(
                np.zeros(3, np.float32), {}, none, none[:, 0], none, np.zeros(0)
            ),
            TableLimits(10_000),
            zones.zone_of,
        )
        made.assign(P)
        return made

    def right(made: StreamTable, names: list[str]) -> bool:
        slots = made.slots(P, names)
        return [int(zone) for zone in made.zones[slots]] == [
            int(name.startswith("eu-")) for name in names
        ]

    made = table()
    names = [f"{'eu' if i % 5 < 2 else 'us'}-{i}" for i in range(2 * PAGE)]
    assert right(made, names)
    again = table()
    again.assign(P, [made.copy_page(P, number, 0) for number, _ in made.pages(P)])
    assert right(again, names)
    silent = again.slots(P, names[::2])
    again.touched[silent] = -1.0
    again.decisions["is_newcomer"][silent] = 0
    (idle,) = again.silent.idle(P, 0.0, 0)
    again.silent.evict(P, idle)  # the last rows of their pages take their places
    assert right(again, names[1::2])
    again.silent.add_page(P, idle)
    assert right(again, names)
    again.revoke(P)
    again.assign(P)
    assert right(again, names[::-1])
