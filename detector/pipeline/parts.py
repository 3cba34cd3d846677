"""What of a pipeline belongs to one bundle, and what another bundle puts in its place.

A :class:`Setup` is a value: a bundle as it is run. It is made and checked beside a
running pipeline. :class:`BundleParts` are made of it, with states of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from detector.alerting.policy import AlertPolicy, AlertTuning, alert_policy
from detector.alerting.thresholds import penalties_of_known
from detector.events import MetricKind
from detector.metrics import Metrics
from detector.model.bundle import Bundle
from detector.model.engine import Engine
from detector.model.local_time import UTC, Zones
from detector.notify.outbox import Outbox
from detector.pipeline.alerts import AlertComposer
from detector.pipeline.causes import CauseClassifier
from detector.pipeline.counter_stage import CounterStage
from detector.pipeline.judge import IncidentJudge
from detector.pipeline.page_copies import PageCopier
from detector.pipeline.refusals import Refusals
from detector.pipeline.scoring import BatchScorer
from detector.recovery.takeover import Takeover
from detector.state.counter_defaults import (
    CounterDefaults,
    known_metrics,
    single_metrics,
)
from detector.state.initial_state import InitialStates
from detector.state.limits import TableLimits
from detector.state.table import StreamTable


@dataclass(frozen=True)
class Setup:
    """A bundle as it is run: all that scores and decisions follow from.

    Attributes:
        engine: runs the bundle's graph.
        tuning: the numbers that detection depends on.
        zones: those whose local time the streams follow.
        limits: how many streams are kept, and for how long; by default all, for ever.
        probe_engine: used only to classify the cause of an incident; without it the
            cause is always VALUE.
    """

    bundle: Bundle
    engine: Engine
    tuning: AlertTuning
    zones: Zones = UTC
    limits: TableLimits = field(default_factory=TableLimits)
    probe_engine: Engine | None = None

    @cached_property
    def policy(self) -> AlertPolicy:
        """When incidents begin and end. Raises ValueError if the budget is no number
        over 0.
        """
        manifest = self.bundle.manifest
        return alert_policy(
            self.tuning, manifest.tail, manifest.tick_interval, manifest.warm_up
        )

    @cached_property
    def initial_states(self) -> InitialStates:
        """What streams start from."""
        return initial_states(self.bundle, self.policy)

    @property
    def takeover(self) -> Takeover:
        """What it takes over from the bundle before."""
        return Takeover(self.bundle.feature_names, self.initial_states)


@dataclass(frozen=True, slots=True)
class BundleParts:
    """The parts of a pipeline that follow from a setup, with the states of streams."""

    setup: Setup
    table: StreamTable
    scorer: BatchScorer
    alerts: AlertComposer
    pages: PageCopier


class PartsMaker:
    """Makes parts that share what does not belong to a bundle.

    ``writer`` is a number that no other process writes pages under.
    """

    def __init__(self, outbox: Outbox, metrics: Metrics, writer: int) -> None:
        self._outbox = outbox
        self._metrics = metrics
        self._writer = writer

    def make(self, setup: Setup) -> BundleParts:
        """Parts without partitions."""
        table = StreamTable(
            setup.initial_states,
            setup.limits,
            setup.zones.zone_of,
            counter_defaults(setup.bundle),
        )
        return self._with_table(setup, table, self._copier(setup, table))

    def around(self, parts: BundleParts) -> BundleParts:
        """The same streams in parts of this maker. The others are not used again."""
        pages = self._copier(parts.setup, parts.table)
        pages.applied.update(parts.pages.applied)
        return self._with_table(parts.setup, parts.table, pages)

    def retuned(self, before: BundleParts, setup: Setup) -> BundleParts:
        """Parts for the same bundle under other settings. The streams are the same."""
        table = before.table
        table.retune(setup.initial_states, setup.limits, setup.zones.zone_of)
        return self._with_table(setup, table, before.pages)

    def _copier(self, setup: Setup, table: StreamTable) -> PageCopier:
        bundle = setup.bundle
        return PageCopier(
            table,
            self._outbox,
            self._metrics,
            bundle.digest,
            bundle.feature_names,
            self._writer,
        )

    def _with_table(
        self, setup: Setup, table: StreamTable, pages: PageCopier
    ) -> BundleParts:
        policy = setup.policy
        judge = IncidentJudge(
            policy,
            CauseClassifier(setup.probe_engine, policy.score_scale),
            Refusals(setup.bundle, table, policy),
        )
        scorer = BatchScorer(
            table,
            setup.engine,
            policy,
            setup.zones,
            setup.bundle.manifest.tick_interval,
            judge,
            CounterStage(table, self._metrics),
        )
        alerts = AlertComposer(setup.bundle, setup.policy)
        return BundleParts(setup, table, scorer, alerts, pages)


def counter_defaults(bundle: Bundle) -> CounterDefaults:
    """What is known of the metrics of new streams.

    A network was fitted to values or to rates, and scores what it was fitted to.
    """
    manifest = bundle.manifest
    if manifest.each_metric:
        return single_metrics()
    kinds = [
        MetricKind.COUNTER if feature.counter else MetricKind.GAUGE
        for feature in manifest.features
    ]
    return known_metrics(np.array(kinds, np.uint8))


def initial_states(bundle: Bundle, policy: AlertPolicy) -> InitialStates:
    """What streams start from."""
    known = len(bundle.trained)
    middles = np.full(known, -np.inf)
    if len(bundle.began):
        middles = bundle.began + bundle.seen / 2
    return InitialStates(
        bundle.initial,
        bundle.rows,
        bundle.trained,
        penalties_of_known(
            bundle.seen,
            known,
            policy.initial_penalty,
            policy.known_penalty,
        ),
        bundle.first,
        middles,
    )
