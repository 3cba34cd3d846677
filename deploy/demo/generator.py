"""Lifelike metrics of a fleet of hosts, and faults on some of them.

One hidden number drives a host: its *load*. It has a daily rhythm with the host's own
phase and depth, and it is lower at the weekend. Two slow noises are added, one of the
host and one of the fleet. All four metrics follow from the load, each with its own
noise and each host with its own baseline. So a relation between metrics is normal for a
host, and not a range of each:

    requests per second ~ load · cpu ~ idle + gain · load · memory follows load slowly ·
    latency rises steeply with load

The faults break that relation in five ways, see :class:`Kind`. Most keep every metric
within the range that it has on other days. A host's character depends on its number
alone, so it is the same in the history and live, whatever the run's seed. The same
arguments give the same numbers.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from detector.timestamps import DAY, HOUR

F64 = npt.NDArray[np.float64]

FEATURES: Final = ("cpu", "memory", "requests_per_second", "latency_ms")
CPU, MEMORY, REQUESTS, LATENCY = range(len(FEATURES))
TICK_S: Final = 60.0
# Thursday 8 January 2026, 00:00 UTC: the history ends and the live run begins here.
START: Final = 1_767_830_400.0
FLEET: Final = 7  # seed of the hosts' characters; the bundle is trained on these
MISSING: Final = 0.001  # share of cells that an agent failed to read
DECIMALS: Final = 4
MEMORY_S: Final = 5400.0  # time constant with which memory follows the load


class Kind(enum.StrEnum):
    """What goes wrong."""

    LEVEL_SHIFT = "level shift"  # one metric jumps and stays there
    SPIKE_TRAIN = "spike train"  # requests and latency triple for two ticks in six
    # requests drop to a quarter, and cpu and latency do not follow
    DECOUPLING = "decoupling"
    FLATLINE = "flatline"  # cpu and latency keep their last value
    SLOW_LEAK = "slow leak"  # memory climbs steadily, and latency with it


#: How long each kind lasts.
TICKS: Final = {
    Kind.LEVEL_SHIFT: 120,
    Kind.SPIKE_TRAIN: 90,
    Kind.DECOUPLING: 120,
    Kind.FLATLINE: 240,
    Kind.SLOW_LEAK: 300,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of host number ``host``.

    It shows in records from ``start`` on and before ``end``, in epoch seconds.
    """

    host: int
    stream: str
    kind: Kind
    start: float
    end: float


def stream_name(host: int) -> str:
    return f"host-{host + 1:03d}"


@dataclass(frozen=True, slots=True)
class Fleet:
    """The characters of n hosts: every array is float64 [n].

    Attributes:
        depth: of the daily rhythm, a share of the load, as ``second``.
        second: of its half-day overtone.
        phase: second of the day at which the load is highest.
        weekend: factor of the load on Saturdays and Sundays.
        load: its mean.
        idle: cpu without load.
        gain: cpu per load.
        memory: memory without load.
        memory_gain: memory per load.
        peak: requests per second at a load of 1.
        latency: milliseconds without load.
        steepness: of the latency's rise with the cube of the load.
    """

    depth: F64
    second: F64
    phase: F64
    weekend: F64
    load: F64
    idle: F64
    gain: F64
    memory: F64
    memory_gain: F64
    peak: F64
    latency: F64
    steepness: F64

    @classmethod
    def of(cls, hosts: int) -> Fleet:
        """A larger fleet begins with the hosts of the smaller one."""
        draws = np.stack([_character(host) for host in range(hosts)], axis=1)

        def between(row: int, low: float, high: float) -> F64:
            span = high - low
            return np.asarray(low + span * draws[row], np.float64)

        return cls(
            depth=between(0, 0.25, 0.55),
            second=between(1, 0.0, 0.15),
            phase=between(2, 13.0, 17.0) * HOUR,
            weekend=between(3, 0.7, 1.0),
            load=between(4, 0.3, 0.5),
            idle=between(5, 0.02, 0.12),
            gain=between(6, 0.6, 1.0),
            memory=between(7, 0.2, 0.45),
            memory_gain=between(8, 0.15, 0.4),
            peak=np.exp(between(9, np.log(100.0), np.log(3000.0))),
            latency=np.exp(between(10, np.log(8.0), np.log(80.0))),
            steepness=between(11, 0.8, 2.0),
        )


def _character(host: int) -> F64:
    """Twelve numbers between 0 and 1."""
    return np.random.default_rng([FLEET, host]).random(12)


class Metrics:
    """All hosts' metrics, tick by tick; ``seed`` is that of the noise."""

    def __init__(
        self,
        hosts: int,
        *,
        seed: int = 7,
        start: float = START,
        faults: Sequence[Fault] = (),
    ) -> None:
        self.streams = tuple(stream_name(host) for host in range(hosts))
        self.time = start
        self.faults = tuple(faults)
        self._fleet = Fleet.of(hosts)
        self._random = np.random.default_rng([seed, int(start), 1])
        self._own = np.zeros(hosts)
        self._shared = 0.0
        self._slow = self._rhythm()
        self._held: dict[Fault, F64] = {}

    def tick(self) -> tuple[float, F64]:
        """The next tick: its time, and values float64 [hosts, features] with faults,
        NaN where missing.
        """
        now = self.time
        values = self._values(self._load())
        for fault in self.faults:
            if fault.start <= now < fault.end:
                self._spoil(values[fault.host], fault, now)
        shares = values[:, [CPU, MEMORY]]
        values[:, [CPU, MEMORY]] = shares.clip(0.0, 1.0)
        values = values.round(DECIMALS)
        values[self._random.random(values.shape) < MISSING] = np.nan
        self.time = now + TICK_S
        return now, values

    def _rhythm(self) -> F64:
        """The load without noise."""
        fleet = self._fleet
        turn = 2 * np.pi * (self.time - fleet.phase) / DAY
        first = fleet.depth * np.cos(turn)
        second = fleet.second * np.cos(2 * turn)
        day = 1 + first + second
        weekday = int(self.time // DAY + 3) % 7  # 1 January 1970 was a Thursday
        weekend = fleet.weekend if weekday >= 5 else 1.0
        return np.asarray(fleet.load * day * weekend, np.float64)

    def _load(self) -> F64:
        """The load at this tick; both noises are autoregressive."""
        noise = self._random.standard_normal(len(self._own))
        self._own = 0.95 * self._own + 0.025 * noise
        shared_noise = float(self._random.standard_normal())
        self._shared = 0.98 * self._shared + 0.008 * shared_noise
        noisy = self._rhythm() * np.exp(self._own + self._shared)
        load = np.clip(noisy, 0.02, 0.95)
        self._slow += (load - self._slow) * (TICK_S / MEMORY_S)
        return np.asarray(load, np.float64)

    def _values(self, load: F64) -> F64:
        fleet = self._fleet
        noise = self._random.standard_normal((len(load), len(FEATURES)))
        values = np.empty((len(load), len(FEATURES)))
        cpu = fleet.idle + fleet.gain * load
        values[:, CPU] = cpu + 0.012 * noise[:, CPU]
        memory = fleet.memory + fleet.memory_gain * self._slow
        values[:, MEMORY] = memory + 0.004 * noise[:, MEMORY]
        requests = fleet.peak * load
        values[:, REQUESTS] = requests * np.exp(0.03 * noise[:, REQUESTS])
        rise = 1 + 0.5 * load + fleet.steepness * load**3
        latency = fleet.latency * rise
        values[:, LATENCY] = latency * np.exp(0.04 * noise[:, LATENCY])
        return values

    def _spoil(self, row: F64, fault: Fault, now: float) -> None:
        """Change one host's values in place."""
        ticks = round((now - fault.start) / TICK_S)
        match fault.kind:
            case Kind.LEVEL_SHIFT:
                _shift(row, fault.host)
            case Kind.SPIKE_TRAIN:
                if ticks % 6 < 2:
                    row[[REQUESTS, LATENCY]] *= 3.0
            case Kind.DECOUPLING:
                row[REQUESTS] *= 0.25
            case Kind.FLATLINE:
                held = self._held.setdefault(fault, row.copy())
                row[[CPU, LATENCY]] = held[[CPU, LATENCY]]
            case Kind.SLOW_LEAK:
                done = ticks * TICK_S / (fault.end - fault.start)
                row[MEMORY] += 0.45 * done
                row[LATENCY] *= 1 + 0.6 * done


def _shift(row: F64, host: int) -> None:
    match host % 3:
        case 0:
            row[LATENCY] *= 2.2
        case 1:
            row[CPU] += 0.3
        case _:
            row[MEMORY] += 0.25


def plan(
    hosts: int,
    count: int,
    *,
    begin: float,
    end: float,
    seed: int = 7,
) -> list[Fault]:
    """``count`` faults in time order, which start evenly between ``begin`` and ``end``:
    kinds in turn, each on a host of its own.
    """
    random = np.random.default_rng([seed, int(begin), 2])
    chosen = random.choice(hosts, size=min(count, hosts), replace=False)
    places = np.arange(len(chosen)) + random.random(len(chosen)) * 0.5
    starts = begin + (end - begin) * places / max(len(chosen), 1)
    kinds = itertools.cycle(Kind)
    return [
        _fault(host, next(kinds), start)
        for host, start in zip(chosen.tolist(), starts.tolist(), strict=True)
    ]


def _fault(host: int, kind: Kind, time: float) -> Fault:
    """A fault that starts with the tick at or before this time."""
    start = time - time % TICK_S
    end = start + TICKS[kind] * TICK_S
    return Fault(host, stream_name(host), kind, start, end)
