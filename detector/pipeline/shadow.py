"""A second bundle scores beside the one in force. Its alerts are counted, not sent.

Theory of operation. The shadow is a pipeline of its own, on the same polls, after the
pipeline in force. It has its own table, outbox without receivers, and metrics. So
nothing that it does reaches a receiver, a page or an offset. A fault in it ends the
shadow and nothing else.

It begins with what the streams are: their times, ticks, counters and open incidents,
and with states that warm up. Its states are in memory only: a restart begins them anew.
It holds its streams until they expire, also those that the bundle in force has only in
the store.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import structlog
from prometheus_client import Counter

from detector.clock import Clock
from detector.events import ENDS, Alert, Partition, RecordBatch
from detector.metrics import Metrics
from detector.pipeline.build import pipeline_of
from detector.pipeline.comparison import Comparison, Side
from detector.pipeline.observer import NullObserver, ScoredBatch
from detector.pipeline.parts import BundleParts, Setup
from detector.recovery.snapshot import Restored
from detector.recovery.takeover import OwnRows
from detector.state.page_rows import PageRows

#: Seconds between two looks for streams that have expired. By judgement: they take a
#: day or more to, and a look costs a pass over all streams.
_LOOK_EVERY: Final = 60.0


class _ShadowSide(NullObserver):
    """Reports what the shadow scores and tells. Implements Observer."""

    def __init__(self, comparison: Comparison, counted: Counter) -> None:
        self._comparison = comparison
        self._counted = counted

    def scored(self, batch: ScoredBatch) -> None:
        self._comparison.scored(Side.SHADOW, batch)

    def alerted(self, alert: Alert) -> None:
        self._comparison.told(Side.SHADOW, alert)
        status = "resolved" if alert.reason in ENDS else "firing"
        self._counted.labels(status).inc()


class Shadow:
    """A bundle beside the one in force. It belongs to the loop's thread.

    Attributes:
        setup: its bundle as it is run.
        live: that of the bundle in force.
        comparison: what the two made of the same points.
        since: epoch seconds at which it began.
    """

    def __init__(
        self, setup: Setup, live: Setup, clock: Clock, counted: Counter
    ) -> None:
        """``counted`` is the metric of its alerts."""
        self.setup = setup
        self.live = live
        self.since = clock.wall()
        tick = live.bundle.manifest.tick_interval
        self.comparison = Comparison(tick, setup.limits.max_streams)
        self._clock = clock
        self._look_at = 0.0  # monotonic seconds
        self._pipeline = pipeline_of(setup, _ShadowSide(self.comparison, counted))

    @property
    def streams(self) -> int:
        """How many it holds."""
        return self._pipeline.table.streams

    def assign(
        self, partition: Partition, rows: Sequence[PageRows], offset: int
    ) -> None:
        """Score a partition from ``offset`` on; ``rows`` are its pages, with states of
        this bundle.
        """
        restored = Restored(tuple(rows), (), offset)
        self._pipeline.assign(partition, restored, self._clock.monotonic())

    def take_over(
        self, partition: Partition, rows: Sequence[PageRows], offset: int
    ) -> None:
        """The same; ``rows`` are those of the bundle in force."""
        takeover = self.setup.takeover
        self.assign(partition, [takeover.rows(page) for page in rows], offset)

    def adopt(self, parts: BundleParts) -> None:
        """Go on with the streams that were in force, as they are.

        Those that are only in the store begin anew: a shadow reads no store.
        """
        self._pipeline.adopt(parts)
        silent = parts.table.silent
        for partition in parts.table.partitions():
            for number in silent.cold(partition):
                silent.drop_page(partition, number)

    def retune(self, live: Setup) -> None:
        """The bundle in force runs under other settings: so does this one."""
        self.live = live
        self.setup = replace(
            self.setup, tuning=live.tuning, zones=live.zones, limits=live.limits
        )
        self._pipeline.retune(self.setup)

    def revoke(self, partition: Partition) -> None:
        self._pipeline.revoke(partition)

    def forget_expired(self, now: float, idle_before: float) -> None:
        """Forget streams whose last point is too long ago, as checkpoints do in force.

        They had none since monotonic ``idle_before``. It does nothing if it did so a
        short while before monotonic ``now``.
        """
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY
        pipeline = self._pipeline
        silent = pipeline.table.silent
        for partition in pipeline.table.partitions():
            offset = pipeline.pages.applied.get(partition, 0)
            silent.expire(partition, idle_before, offset)
        self.comparison.forget(silent.expired)
        silent.expired.clear()

    def process(self, polled: Sequence[RecordBatch], now: float, live: float) -> None:
        """Score what the bundle in force has scored, in ``live`` seconds."""
        began = self._clock.monotonic()
        self._pipeline.process(polled, now)
        seconds = self._clock.monotonic() - began
        points = sum(len(batch.names) for batch in polled)
        self.comparison.took(Side.LIVE, live, points)
        self.comparison.took(Side.SHADOW, seconds, points)

    def own_rows(self, partition: Partition) -> OwnRows:
        """What it has computed of the streams of a partition."""
        if not self._pipeline.table.owns(partition):
            return OwnRows(())
        return OwnRows(self._pipeline.pages.rows(partition))


class Beside(NullObserver):
    """The place of a shadow beside a pipeline, which it observes. Implements Observer.

    Attributes:
        shadow: the one that runs; None: none does.
        fault: why the last one ended by itself, or "".
    """

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self.shadow: Shadow | None = None
        self.fault = ""
        self._log = structlog.get_logger("shadow")

    def new(self, setup: Setup, live: Setup) -> Shadow:
        """A shadow without partitions, which :meth:`begin` puts here."""
        return Shadow(setup, live, self._clock, self._metrics.shadow_alerts)

    def begin(self, shadow: Shadow) -> None:
        """In place of the one that runs."""
        self.shadow = shadow
        self.fault = ""
        self._metrics.shadow_running.set(1)

    def end(self) -> None:
        self.shadow = None
        self._metrics.shadow_running.set(0)

    def adopt(self, parts: BundleParts) -> None:
        """The shadow goes on with the streams of these parts."""
        self._guard(lambda shadow: shadow.adopt(parts))

    def follow(
        self,
        polled: Sequence[RecordBatch],
        now: float,
        seconds: float,
        idle_before: float,
    ) -> None:
        """The pipeline has processed a poll, at monotonic ``now``, in ``seconds``.

        Streams without a point since monotonic ``idle_before`` are idle.
        """
        self._guard(lambda shadow: shadow.process(polled, now, seconds))
        # the time of a partition is that of streams that are not idle
        if any(len(batch.names) for batch in polled):
            self._guard(lambda shadow: shadow.forget_expired(now, idle_before))

    # -- Observer ----------------------------------------------------------------------

    def assigned(self, partition: Partition, restored: Restored) -> None:
        offset = restored.offset or 0
        self._guard(lambda shadow: shadow.take_over(partition, restored.pages, offset))

    def revoked(self, partition: Partition) -> None:
        self._guard(lambda shadow: shadow.revoke(partition))

    def scored(self, batch: ScoredBatch) -> None:
        self._guard(lambda shadow: shadow.comparison.scored(Side.LIVE, batch))

    def alerted(self, alert: Alert) -> None:
        self._guard(lambda shadow: shadow.comparison.told(Side.LIVE, alert))

    def _guard(self, step: Callable[[Shadow], None]) -> None:
        """A step of the shadow, if there is one. A fault in it ends the shadow."""
        shadow = self.shadow
        if shadow is None:
            return
        try:
            step(shadow)
        # The top of the shadow: nothing that fails in it may stop the bundle in force.
        except Exception as error:  # noqa: BLE001
            self.end()
            self.fault = f"{type(error).__name__}: {error}"
            self._log.error(
                "shadow_ended",
                bundle=str(shadow.setup.bundle.path),
                cause=self.fault,
                trace="".join(traceback.format_tb(error.__traceback__)),
                note="the bundle in force is not affected; please report it",
            )
