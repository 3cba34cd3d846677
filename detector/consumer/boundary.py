"""Between two polls: where another bundle, or other settings, come in force.

Theory of operation. Another bundle of the same features takes over what the streams
are, see :mod:`detector.recovery.takeover`. It happens in memory and in this order:

1. the checkpoint under way ends, and pages of streams that are only in the store are
   written for the new bundle too;
2. the rows in memory are carried over into a new table, beside the old one;
3. the new table is used, and written whole;
4. once it is durable, the next poll is scored by the new bundle.

Anything that fails in 1 to 3 leaves the old table in use, and its idle streams in the
store: no record was scored since. A store that hangs fails after
:data:`STORE_TIMEOUT`, for which records and rebalances wait.
A crash in between finds pages of the old bundle, or of the new one, as of the same
offsets. So each record is scored by the one or by the other, and by one of them alone.

The same bundle under other settings keeps its table, and nothing needs to be written.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from detector.clock import Clock
from detector.consumer.changes import Changes
from detector.consumer.checkpoints import Checkpoints, CheckpointSchedule
from detector.consumer.partitions import Partitions
from detector.consumer.poller import Decode, Poller
from detector.errors import ConfigError
from detector.events import Partition
from detector.model.bundle import Bundle
from detector.pipeline.parts import BundleParts, Setup
from detector.pipeline.pipeline import Pipeline
from detector.pipeline.shadow import Beside, Shadow
from detector.recovery.snapshot import Restored

#: Seconds that the store may hold up another bundle. Longer than 100,000 streams take
#: on a busy machine, and shorter than a loop may stand still.
STORE_TIMEOUT: Final = 15.0


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a reload puts in force.

    Attributes:
        setup: the bundle as it is run.
        decode: of records.
        max_points: polled at once, about.
        schedule: of checkpoints.
    """

    setup: Setup
    decode: Decode
    max_points: int
    schedule: CheckpointSchedule


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What became of the streams.

    Attributes:
        streams: that the bundle took over.
        cold: those whose network warms up now.
        seconds: for which no record was scored.
    """

    streams: int = 0
    cold: int = 0
    seconds: float = 0.0


class Boundary:
    """Puts changes in force. The loop calls :meth:`turn` between two polls; the other
    methods are for jobs that it runs.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        poller: Poller,
        partitions: Partitions,
        checkpoints: Checkpoints,
        lock: threading.Lock,
        beside: Beside,
        clock: Clock,
    ) -> None:
        self._pipeline = pipeline
        self._poller = poller
        self._partitions = partitions
        self._checkpoints = checkpoints
        self.lock = lock
        self.beside = beside
        self._clock = clock
        self.changes = Changes()

    def turn(self) -> None:
        """Run the changes that wait."""
        self.changes.run()

    def put_in_force(
        self, wanted: Configuration, checked: Shadow | None = None
    ) -> Exchanged:
        """Go on under another configuration from the next poll on.

        If its bundle runs in shadow, it goes on with the states it has there, and the
        bundle of before is the shadow then. With ``checked`` that very shadow must run.
        Raises ConfigError or StoreError; all is as before then, but for streams whose
        page is found to be gone.
        """
        setup = wanted.setup
        if checked is not None and self.beside.shadow is not checked:
            raise ConfigError(_ended(self.beside.fault))
        if setup.bundle.digest == self._pipeline.parts.setup.bundle.digest:
            exchanged = self._retune(setup)
        else:
            check_takes_over(setup.bundle, self._pipeline.parts.setup.bundle)
            exchanged = self._replace(setup)
        self._poller.use(wanted.decode, wanted.max_points)
        self._checkpoints.schedule = wanted.schedule
        return exchanged

    def shadow(self, setup: Setup) -> int:
        """Let a bundle score beside the one in force. Gives its streams.

        Raises ConfigError.
        """
        live = self._pipeline.parts.setup
        check_takes_over(setup.bundle, live.bundle)
        with self.lock:
            shadow = self.beside.new(setup, live)
            pages = self._pipeline.pages
            for partition in self._pipeline.table.partitions():
                offset = pages.applied.get(partition, 0)
                shadow.take_over(partition, pages.rows(partition), offset)
            self.beside.begin(shadow)
            return shadow.streams

    def end_shadow(self) -> None:
        """Nothing if none runs."""
        with self.lock:
            self.beside.end()

    def _retune(self, setup: Setup) -> Exchanged:
        with self.lock:
            self._pipeline.retune(setup)
            self._partitions.retune(setup)
            if self.beside.shadow is not None:
                self.beside.shadow.retune(setup)
        return Exchanged()

    def _replace(self, setup: Setup) -> Exchanged:
        shadow = self.beside.shadow
        if shadow is None:
            return self._exchange(setup)
        if shadow.setup.bundle.digest != setup.bundle.digest:
            raise ConfigError(
                "another bundle runs in shadow: promote it, or end it with"
                " `streamwarden shadow --off`, and try again"
            )
        self.beside.end()
        try:
            return self._exchange(setup, shadow)
        except BaseException:
            self.beside.begin(shadow)
            raise

    # -- one bundle for another --------------------------------------------------------

    def _exchange(self, setup: Setup, warm: Shadow | None = None) -> Exchanged:
        began = self._clock.monotonic()
        with self.lock:
            ends = began + STORE_TIMEOUT
            self._checkpoints.settle(ends)
            carried = self._carried(setup, warm, ends)
            before = self._pipeline.replace(setup, carried, began)
            try:
                self._checkpoints.write_all(ends)
            except BaseException:
                self._checkpoints.disown()
                self._pipeline.take_back(before)
                raise
            self._partitions.read_for(setup)
            if warm is not None:
                self._keep_in_shadow(before)
        seconds = self._clock.monotonic() - began
        return _exchanged(setup, carried, seconds)

    def _carried(
        self, setup: Setup, warm: Shadow | None, ends: float
    ) -> dict[Partition, Restored]:
        """The streams of each partition under another setup. Raises StoreError, also if
        the store is not done by monotonic ``ends``.
        """
        pages = self._pipeline.pages
        takeover = setup.takeover
        carried = {}
        for partition in self._pipeline.table.partitions():
            moved = self._partitions.move_idle(setup, partition, ends)
            idle = {page.rows.number: page.rows for page in moved}
            own = None if warm is None else warm.own_rows(partition)
            rows = [
                idle.get(page.number) or takeover.rows(page, own)
                for page in pages.rows(partition)
            ]
            carried[partition] = Restored(
                pages=tuple(rows),
                alerts=(),
                offset=pages.applied.get(partition),
                stamps={page.rows.number: page.stamp for page in moved},
                cold=frozenset(idle),
            )
        return carried

    def _keep_in_shadow(self, before: BundleParts) -> None:
        """The bundle of before scores on, so that a roll back finds it warm.

        The exchange is made, whatever fails here: a fault ends the shadow alone.
        """
        shadow = self.beside.new(before.setup, self._pipeline.parts.setup)
        self.beside.begin(shadow)
        self.beside.adopt(before)


def _ended(fault: str) -> str:
    cause = f" ({fault})" if fault else ""
    return (
        f"the shadow that was to be promoted has ended meanwhile{cause}: begin again"
        " with `streamwarden shadow BUNDLE`"
    )


def check_takes_over(wanted: Bundle, now: Bundle) -> None:
    """Raises ConfigError unless a bundle may score the streams of the one in force."""
    if wanted.digest == now.digest:
        raise ConfigError(f"bundle {wanted.path} is the one in force: name another")
    is_same_kind = wanted.manifest.each_metric == now.manifest.each_metric
    if wanted.feature_names != now.feature_names or not is_same_kind:
        raise ConfigError(
            f"bundle {wanted.path} has other features than {now.path}, which is in force,"
            " so its streams are others: restart the daemon with it"
        )


def _exchanged(
    setup: Setup, carried: Mapping[Partition, Restored], seconds: float
) -> Exchanged:
    pages = [rows for restored in carried.values() for rows in restored.pages]
    steps = [rows.decisions["steps"] for rows in pages]
    warm_up = setup.policy.warm_up
    return Exchanged(
        streams=sum(len(rows.names) for rows in pages),
        cold=sum(int(np.count_nonzero(of_page < warm_up)) for of_page in steps),
        seconds=seconds,
    )
