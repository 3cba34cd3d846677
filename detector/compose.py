"""Settings become parts: the one module that names concrete adapters by the settings.

The daemon, ``check`` and ``replay`` take their parts from here. All that can fail by
configuration fails here, before anything is live.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from detector.clock import Clock, SystemClock
from detector.errors import ConfigError
from detector.events import Partition
from detector.ingest.decoder import (
    Decoder,
    TopicDecoders,
    feature_decoder,
    metric_decoder,
)
from detector.ingest.format import FormatKind
from detector.ingest.formats.registry import NAMES, format_kind
from detector.ingest.framing.registry import FRAMINGS
from detector.ingest.framing.schema_registry import SchemaRegistry
from detector.ingest.stated_kinds import StatedKinds, with_kinds
from detector.kafka.settings import KafkaSettings
from detector.kafka.topic_settings import TopicSettings
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.notify.receiver import Receiver, ReceiverContext
from detector.notify.receivers.kafka import KafkaReceiverSettings
from detector.recovery.store import Store
from detector.recovery.store_kafka import KafkaStore
from detector.recovery.store_local import LocalStore
from detector.settings.load import Settings


def open_bundle(settings: Settings) -> Bundle:
    """The configured bundle, else the built-in one. Raises BundleError."""
    return load_bundle(settings.model.bundle or BUILTIN)


def check_topics(settings: Settings) -> None:
    """Raises ConfigError if there is no input topic."""
    if not settings.kafka.topics:
        raise ConfigError(
            "DETECTOR_KAFKA__TOPICS is not set: name the input topics, or one ^regex"
        )


def make_decoder(
    bundle: Bundle,
    settings: Settings,
    on_unknown: Callable[[str, Partition, int], None],
    clock: Clock | None = None,
    patience: float | None = None,
) -> TopicDecoders:
    """Decodes each topic as its settings say, keyed as the bundle asks.

    ``clock``: of the machine by default. ``patience``: seconds to wait for a schema;
    None: as long as it takes. Raises ConfigError.
    """
    kafka = settings.kafka
    check_formats(kafka)
    registry = make_schema_registry(kafka, clock or SystemClock(), patience)

    def make(topic: str) -> Decoder[Any]:
        how = kafka.settings_of(topic)
        kind = topic_format(how, kafka)
        framing = FRAMINGS[how.framing](registry)
        max_bytes = kafka.max_record_bytes
        bounds = kafka.clock_bounds(topic)
        if bundle.manifest.each_metric:
            return metric_decoder(kind, max_bytes, on_unknown, framing, bounds)
        features = bundle.feature_names
        return feature_decoder(kind, features, max_bytes, on_unknown, framing, bounds)

    return TopicDecoders(make)


def make_schema_registry(
    kafka: KafkaSettings, clock: Clock, patience: float | None = None
) -> SchemaRegistry | None:
    """The schema registry, if one is configured. Raises ConfigError."""
    settings = kafka.schema_registry
    return None if settings is None else SchemaRegistry(settings, clock, patience)


def check_formats(kafka: KafkaSettings) -> None:
    """Raises ConfigError if a format or a framing that is configured does not exist."""
    for how in (*kafka.topic_settings, TopicSettings(name="any")):
        topic_format(how, kafka)
        if how.framing not in FRAMINGS:
            known = ", ".join(FRAMINGS)
            raise ConfigError(
                f"topic {how.name or how.pattern}: there is no framing"
                f" {how.framing!r}; use one of {known}"
            )


def topic_format(how: TopicSettings, kafka: KafkaSettings) -> FormatKind:
    """The format of a topic. Raises ConfigError if there is no such format."""
    name = how.format or kafka.format
    topic = f"topic {how.name or how.pattern}"
    try:
        kind = format_kind(name, how.mapping.given())
    except ValueError as error:
        raise ConfigError(f"{topic}, mapping: {error}") from None
    if kind is None:
        setting = topic if how.format else "DETECTOR_KAFKA__FORMAT"
        known = ", ".join(NAMES)
        raise ConfigError(f"{setting}: there is no format {name!r}; use one of {known}")
    return with_kinds(kind, StatedKinds(how.counters, how.gauges))


def own_topics(settings: Settings) -> tuple[str, ...]:
    """The topics that the daemon writes, which it must not read as input."""
    recovery = settings.recovery
    of_recovery = (recovery.topic, recovery.dead_letter_topic)
    of_receivers = (
        receiver.topic
        for receiver in settings.alerting.destinations()
        if isinstance(receiver, KafkaReceiverSettings)
    )
    return tuple(topic for topic in (*of_recovery, *of_receivers) if topic)


def check_own_topics(settings: Settings) -> None:
    """Raises ConfigError if the daemon would write a topic that it reads."""
    recovery = settings.recovery
    inputs = settings.kafka.topics
    if recovery.topic in inputs:
        raise ConfigError(
            f"DETECTOR_RECOVERY__STORE: {recovery.topic} is an input topic:"
            " name one that holds nothing else"
        )
    dead_letters = recovery.dead_letter_topic
    if dead_letters is not None and dead_letters in (*inputs, recovery.topic):
        raise ConfigError(
            f"DETECTOR_RECOVERY__DEAD_LETTERS: {dead_letters} is an input topic or the"
            " store: name one that holds nothing else"
        )
    for receiver in settings.alerting.destinations():
        topic = receiver.topic if isinstance(receiver, KafkaReceiverSettings) else None
        if topic is not None and topic in (*inputs, recovery.topic, dead_letters):
            raise ConfigError(
                f"receiver {receiver.name}: {topic} is an input topic, the store, or"
                " that of dead letters: name one that holds alerts alone"
            )


def make_store(settings: Settings, clock: Clock) -> Store:
    """Where states are kept. Raises ConfigError."""
    recovery = settings.recovery
    if recovery.topic is None:
        return LocalStore(recovery.directory or Path())
    check_own_topics(settings)
    return KafkaStore(settings.kafka, recovery.topic, clock)


def make_receivers(
    settings: Settings, clock: Clock, kept: Mapping[str, Receiver] | None = None
) -> dict[str, Receiver]:
    """Receivers by name, of which some are ``kept``. Raises ConfigError."""
    alerting = settings.alerting
    context = ReceiverContext(
        alerting.labelling(),
        alerting.external_url,
        clock,
        settings.kafka,
    )
    made = dict(kept or {})
    for receiver in alerting.destinations():
        if receiver.name not in made:
            made[receiver.name] = receiver.receiver(context)
    return made


def receivers_alike(before: Settings, after: Settings) -> list[str]:
    """Names of the receivers that other settings would make as they are.

    Never those that read files, which may hold something else now. The settings of
    Kafka name files too.
    """
    known = {receiver.name: receiver for receiver in before.alerting.destinations()}
    return [
        receiver.name
        for receiver in after.alerting.destinations()
        if known.get(receiver.name) == receiver
        and not isinstance(receiver, KafkaReceiverSettings)
        and not any(isinstance(value, Path) for _, value in receiver)
    ]
