"""What rules would have changed: the same data, replayed without and with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from detector.alerting.policy import AlertTuning
from detector.alerting.rules import NO_RULES, Rule, Rules
from detector.events import Alert, Severity
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings
from detector.pipeline.observer import NullObserver
from detector.record_clock import ANY_TIME
from detector.replay.chunks import FileSource
from detector.replay.offline import offline_pipeline

Progress = Callable[[int, int], None]
_Key = tuple[str, float]  # stream, and event time of the beginning


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """What one rule would have changed.

    Attributes:
        metrics: how many metrics of streams it holds for.
        refused: first alerts of incidents that it lets not begin.
        capped: alerts at which incidents would have become critical, and don't.
    """

    rule: Rule
    metrics: int
    refused: Sequence[Alert]
    capped: Sequence[Alert]


@dataclass(frozen=True, slots=True)
class Effects:
    """What all rules together would have changed.

    Attributes:
        before, after: how many incidents there are without and with the rules.
        moved: incidents that begin with the rules only: another one before them is
            gone.
    """

    rules: Sequence[RuleEffect]
    before: int
    after: int
    moved: Sequence[Alert]


class _Collector(NullObserver):
    """Keeps all alerts. Implements Observer."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    def alerted(self, alert: Alert) -> None:
        self.alerts.append(alert)


def rule_effects(
    bundle: Bundle,
    source: FileSource,
    tuning: AlertTuning,
    model: ModelSettings,
    progress: Progress,
) -> Effects:
    """Replay twice. ``progress`` is called with the rows done, and those of both runs.

    Raises BundleError or DataError.
    """
    without, tags = _replayed(
        bundle, source, replace(tuning, rules=NO_RULES), model, progress, 0
    )
    under, _ = _replayed(bundle, source, tuning, model, progress, 1)
    first, first_after = _first(without), _first(under)
    refused = [alert for key, alert in first.items() if key not in first_after]
    moved = [alert for key, alert in first_after.items() if key not in first]
    worst = _worst(under)
    capped = [
        alert
        for key, alert in _turned_critical(without).items()
        if worst.get(key, Severity.CRITICAL) < Severity.CRITICAL
    ]
    rules = tuning.rules
    held = _metrics_of(bundle, tags, rules)
    return Effects(
        rules=[
            RuleEffect(
                rule,
                held[rule.name],
                [alert for alert in refused if _rule_of(alert, rules) is rule],
                [alert for alert in capped if _rule_of(alert, rules) is rule],
            )
            for rule in rules.rules
        ],
        before=len(first),
        after=len(first_after),
        moved=moved,
    )


def _replayed(
    bundle: Bundle,
    source: FileSource,
    tuning: AlertTuning,
    model: ModelSettings,
    progress: Progress,
    run: int,
) -> tuple[list[Alert], Mapping[str, Mapping[str, str]]]:
    """All alerts, and each stream's tags."""
    collector = _Collector()
    engine = OnnxEngine(bundle)
    pipeline = offline_pipeline(
        bundle, engine, tuning, collector, model=model, probe_engine=engine
    )
    for chunk in source.chunks():
        for poll in chunk.polls(ANY_TIME):
            pipeline.process([poll])
            progress(run * len(source) + poll.next_offset, 2 * len(source))
    pipeline.finish()
    table = pipeline.table
    slots = [slot for part in table.partitions() for slot in table.slots_of(part)]
    return collector.alerts, {table.names[s]: table.labels[s] for s in slots}


def _metrics_of(
    bundle: Bundle, tags: Mapping[str, Mapping[str, str]], rules: Rules
) -> dict[str, int]:
    """How many metrics each rule holds for, by the rule's name."""
    held = {rule.name: 0 for rule in rules.rules}
    for stream, of_stream in tags.items():
        for feature in bundle.features_of(stream):
            rule = rules.of(stream, feature.name, of_stream)
            if rule is not None:
                held[rule.name] += 1
    return held


def _key(alert: Alert) -> _Key:
    return alert.stream, alert.starts_at


def _first(alerts: Sequence[Alert]) -> dict[_Key, Alert]:
    """The first alert of each incident."""
    first: dict[_Key, Alert] = {}
    for alert in alerts:
        first.setdefault(_key(alert), alert)
    return first


def _worst(alerts: Sequence[Alert]) -> dict[_Key, Severity]:
    worst: dict[_Key, Severity] = {}
    for alert in alerts:
        worst[_key(alert)] = max(alert.severity, worst.get(_key(alert), Severity.NONE))
    return worst


def _turned_critical(alerts: Sequence[Alert]) -> dict[_Key, Alert]:
    """The first critical alert of each incident that has one."""
    return _first([a for a in alerts if a.severity is Severity.CRITICAL])


def _rule_of(alert: Alert, rules: Rules) -> Rule | None:
    """The rule that holds for the metric that leads."""
    names: Iterator[str] = (deviation.name for deviation in alert.deviations)
    metric = next(names, "")
    return rules.of(alert.stream, metric, alert.tags)
