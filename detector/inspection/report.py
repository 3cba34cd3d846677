"""What `inspect` prints of a topic, and the line of `check`. Pure.

All that comes from records is escaped and cut: a terminal would obey it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from detector.events import Partition
from detector.inspection.findings import RISING, Clocks, Findings
from detector.inspection.merged import Merged
from detector.phrases import duration, escaped, listed

_NAMED: Final = 6  # names that a line lists
_LONGEST: Final = 100  # characters of what comes from records
_WIDTH: Final = 12  # of the first column
#: Seconds by which a clock may differ and be called right.
_RIGHT: Final = 60.0
_KEY_BY: Final = (
    "key records by what names their stream: in Telegraf `routing_tag`, in collectd"
    " `Key`, in Vector `key_field`, in the OpenTelemetry collector"
    " `partition_metrics_by_resource_attributes`"
)


@dataclass(frozen=True, slots=True)
class Inspected:
    """All about one topic.

    Attributes:
        held: the offsets that the log of each partition holds.
        formats: how many records have which format.
        configured: the format that the settings name.
        findings: of the records as the settings read them.
        best: of the records as the best format reads them.
        merged: streams that hold points of several sources.
        tags: of the mapping that the settings name.
    """

    topic: str
    held: Mapping[Partition, range]
    unreadable: Sequence[str]
    formats: Mapping[str, int]
    configured: str
    findings: Findings
    best: Findings
    merged: Merged | None = None
    tags: Sequence[str] = ()

    @property
    def suggested(self) -> str:
        """The format to set: the configured one if no other makes more points."""
        found = next(iter(self.formats), self.configured)
        if self.best.points > self.findings.points:
            return found
        return self.configured


def lines(found: Inspected) -> Iterator[str]:
    """The report, line by line."""
    yield from _log_lines(found)
    if not found.findings.records:
        yield "no record was read: produce some, and run it again"
        return
    for name, text in _rows(found):
        yield f"{name:<{_WIDTH}}{text}"
    yield ""
    yield "to paste into the TOML file:"
    yield ""
    yield from toml(found)


def in_one_line(found: Inspected) -> str:
    """For `check`."""
    if not found.findings.records:
        return f"topic {found.topic}: no record to look at"
    best = found.best
    rejected = sum(count for count, _ in found.findings.rejected.values())
    parts = [
        f"{listed([*found.formats], _NAMED) or 'no format that is known'}",
        f"{_plural(len(best.streams), 'stream')} of"
        f" {_plural(len(best.metrics), 'metric')}",
        f"{rejected:,} of {found.findings.records:,} records would be rejected",
    ]
    if best.split:
        parts.append(f"on several partitions: {_plural(len(best.split), 'stream')}")
    if found.suggested != found.configured:
        parts.append(f"set its format to {found.suggested}")
    if found.merged is not None:
        parts.append(_merged_in_short(found.merged))
    is_odd = rejected or best.split or found.merged is not None
    if is_odd or found.suggested != found.configured:
        parts.append(f"see `streamwarden inspect --topic {found.topic}`")
    return f"topic {found.topic}: {'; '.join(parts)}"


def toml(found: Inspected) -> Iterator[str]:
    """The table of the topic."""
    yield "[[kafka.topics]]"
    yield f"name = {json.dumps(found.topic)}"
    yield f"format = {json.dumps(found.suggested)}"
    counters = found.best.counters.items()
    rising = [metric for metric, why in counters if why == RISING][:_NAMED]
    if rising:
        # patterns, which a person takes or leaves: whether it is a total, nobody says
        named = ", ".join(json.dumps(re.escape(_shown(metric))) for metric in rising)
        yield f"# counters = [{named}]  # if these are totals: they only rise here"
    if found.merged is not None:
        tags = [*found.tags, *found.merged.fields]
        yield ""
        yield "[kafka.topics.mapping]"
        yield f"tags = {json.dumps(tags)}"


def _log_lines(found: Inspected) -> Iterator[str]:
    offsets = sum(map(len, found.held.values()))
    partitions = _plural(len(found.held), "partition")
    yield (
        f"topic {found.topic}: {partitions}, {offsets:,} offsets in the log,"
        f" {found.findings.records:,} of the newest records read"
    )
    for place in found.unreadable:
        yield f"can't be read: {_shown(place)}"


def _rows(found: Inspected) -> Iterator[tuple[str, str]]:
    best = found.best
    yield "format", _formats(found)
    yield "streams", _counted(best.streams)
    yield "metrics", _counted(best.metrics)
    if best.tags:
        values = [f"{_shown(tag)} ({count:,})" for tag, count in best.tags.items()]
        yield "tags", f"{len(best.tags):,}: {listed(values, _NAMED)}"
    yield "rate", _rate(best)
    if best.clocks is not None:
        yield "clocks", _clock_line(best.clocks, best.broker_time)
    yield "keys", _keys(best)
    if best.split:
        yield "split", _split(best)
    if found.merged is not None:
        yield "merged", _merged(found.merged)
    if best.headers:
        yield "headers", _counted(best.headers)
    yield "counters", _counters(best)
    yield from _without_points(best)
    yield from _rejected(best)
    if found.suggested != found.configured:
        yield from _rejected(found.findings, f"as {found.configured}")


def _formats(found: Inspected) -> str:
    counts = [
        f"{name} ({_plural(count, 'record')})" for name, count in found.formats.items()
    ]
    is_one = len(counts) == 1
    text = listed([*found.formats] if is_one else counts, _NAMED)
    text = text or "none that is known makes a point of them"
    if found.suggested == found.configured:
        return f"{text}; configured: {found.configured}"
    return (
        f"{text}; configured is {found.configured}, which makes"
        f" {found.findings.points:,} points where {found.suggested} makes"
        f" {found.best.points:,}"
    )


def _rate(best: Findings) -> str:
    parts = []
    if best.record_rate is not None:
        each = best.points / max(1, best.records)
        points = best.record_rate * each
        parts.append(
            f"{best.record_rate:,.3g} records and {points:,.3g} points a second"
        )
    if best.tick is not None:
        parts.append(f"a stream has a point each {duration(best.tick)}")
    return ", ".join(parts) or "not known from so few records"


def _clock_line(clocks: Clocks, broker_time: bool) -> str:
    who = "the broker" if broker_time else "the producer"
    text = (
        f"event times less Kafka's, which {who} set: median {_seconds(clocks.median)},"
        f" from {_seconds(clocks.least)} to {_seconds(clocks.most)}"
    )
    if clocks.ahead > _RIGHT:
        return f"{text}; the newest is {duration(clocks.ahead)} in the FUTURE"
    return f"{text}; the newest is {duration(max(0.0, -clocks.ahead))} old"


def _seconds(value: float) -> str:
    if abs(value) < _RIGHT:
        return f"{value:.3g} s"
    sign = "-" if value < 0 else ""
    return f"{sign}{duration(abs(value))}"


def _keys(best: Findings) -> str:
    if not best.keyed:
        return f"none of {best.records:,} records has a key"
    text = (
        f"{best.keyed:,} of {best.records:,} records have one, {best.keys:,} different"
    )
    return text if best.split else f"{text}; each stream is on one partition"


def _split(best: Findings) -> str:
    examples = [
        f"{_shown(name)} on {listed([*map(str, numbers)], _NAMED)}"
        for name, numbers in best.split.items()
    ]
    text = listed(examples, 2)
    return (
        f"{_plural(len(best.split), 'stream')} on several partitions, where their points"
        f" have no order: {text}. Remedy: {_KEY_BY}"
    )


def _merged(merged: Merged) -> str:
    examples = [
        f"{_shown(name)} has {count:,}" for name, count in merged.streams.items()
    ]
    return (
        f"{_merged_in_short(merged)}: {listed(examples, 2)}. Remedy: name the fields in"
        " `tags` of the mapping, as below, and each source is a stream"
    )


def _merged_in_short(merged: Merged) -> str:
    fields = listed([f"`{_shown(path)}`" for path in merged.fields], _NAMED)
    streams = _plural(len(merged.streams), "stream")
    return f"several sources in {streams}, told apart by {fields}"


def _counters(best: Findings) -> str:
    if not best.counters:
        return "none seen"
    named = [f"{_shown(metric)} ({why})" for metric, why in best.counters.items()]
    return f"{len(named):,}: {listed(named, _NAMED)}"


def _without_points(best: Findings) -> Iterator[tuple[str, str]]:
    if best.tombstones:
        count = _plural(best.tombstones, "record")
        yield "tombstones", f"{count} without a value"
    if best.missing:
        named = [
            f"{_shown(metric)} ({count:,} {reason.value})"
            for (metric, reason), count in best.missing.items()
        ]
        yield "missing", f"values that can't be used: {listed(named, _NAMED)}"
    if best.without_points:
        count = _plural(best.without_points, "record")
        yield "empty", f"{count} without a value that can be scored"


def _rejected(findings: Findings, name: str = "rejected") -> Iterator[tuple[str, str]]:
    if not findings.rejected:
        yield name, "none would be"
    for reason, (count, record) in findings.rejected.items():
        value = (record.value or b"")[:_LONGEST].decode(errors="backslashreplace")
        yield (
            name,
            f"{count:,} {reason.value}: {_shown(record.detail, 3)}; as at"
            f" {record.partition} offset {record.offset}: {_shown(value)}",
        )


def _counted(counts: Mapping[str, int]) -> str:
    named = [f"{_shown(name)} ({count:,})" for name, count in counts.items()]
    return f"{len(named):,}: {listed(named, _NAMED)}" if named else "none"


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _shown(text: str, longest: int = 1) -> str:
    most = longest * _LONGEST
    cut = text if len(text) <= most else f"{text[:most]}…"
    return escaped(cut)
