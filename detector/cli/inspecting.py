"""Samples a topic and tries the formats on it, for `inspect` and for `check`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace

from detector.clock import SystemClock
from detector.compose import make_decoder, open_bundle
from detector.errors import ConfigError
from detector.events import Partition, RecordBatch
from detector.ingest.formats.registry import FORMATS
from detector.ingest.messages import Messages
from detector.inspection.findings import by_reason, find
from detector.inspection.formats import GENERAL, by_strictness, records_by_format
from detector.inspection.merged import Merged, merged_streams
from detector.inspection.report import Inspected
from detector.inspection.sample import Sample, take_sample
from detector.kafka.scan import Scanner
from detector.kafka.topic_settings import TopicSettings
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.settings.load import Settings


def inspect_topic(
    settings: Settings, scanner: Scanner, topic: str, records: int
) -> Inspected:
    """Raises ConfigError if the topic does not exist, and BundleError."""
    sample = take_sample(scanner, topic, records)
    # of which each metric is a stream: what a record holds, whatever is scored of it
    bundle = load_bundle(BUILTIN)
    how = settings.kafka.settings_of(topic)
    configured = how.format or settings.kafka.format
    as_configured = _decode(
        sample, bundle, _reading_as(settings, how, topic, configured)
    )
    tried = {}
    for name in by_strictness([*FORMATS]):
        reading = _reading_as(settings, how, topic, name)
        with contextlib.suppress(ConfigError):  # it takes no such mapping
            tried[name] = _decode(sample, bundle, reading)
    formats = records_by_format(tried)
    now = SystemClock().wall()
    by_bundle = _decode(sample, open_bundle(settings), settings)
    findings = replace(find(as_configured, now), rejected=by_reason(by_bundle))
    named = next(iter(formats), configured)
    read = tried[named] if formats else as_configured
    best = find(read, now)
    if best.points <= findings.points:
        read, best = as_configured, findings
    merged: Merged | None = None
    if named in GENERAL:
        merged = merged_streams(_messages(sample, bundle, settings), read)
    return Inspected(
        topic=topic,
        held=sample.held,
        unreadable=sample.unreadable,
        formats=formats,
        configured=configured,
        findings=findings,
        best=best,
        merged=merged,
        tags=how.mapping.given().get("tags", ()),
    )


def _messages(sample: Sample, bundle: Bundle, settings: Settings) -> Sequence[Messages]:
    decoder = make_decoder(bundle, settings, _ignore)
    return [decoder.messages(raw) for raw in sample.batches]


def _decode(
    sample: Sample, bundle: Bundle, settings: Settings
) -> Sequence[RecordBatch]:
    decoder = make_decoder(bundle, settings, _ignore)
    return [decoder.decode(raw) for raw in sample.batches]


def _ignore(field: str, partition: Partition, offset: int) -> None:
    """Fields that are no metrics are no concern here."""


def _reading_as(
    settings: Settings, how: TopicSettings, topic: str, name: str
) -> Settings:
    """The settings, with this format for the topic, and with every clock believed: a
    wrong clock must not hide what the records are.
    """
    changes = {"name": topic, "pattern": "", "format": name, "future_seconds": math.inf}
    changed = how.model_copy(update=changes)
    of_topics = (changed, *settings.kafka.topic_settings)
    kafka = settings.kafka.model_copy(update={"topic_settings": of_topics})
    return settings.model_copy(update={"kafka": kafka})
