"""Settings become parts: the one module that names concrete adapters by the settings.

The daemon, ``check`` and ``replay`` take their parts from here. All that can fail by
configuration fails here, before anything is live.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from detector.clock import Clock
from detector.errors import ConfigError
from detector.events import Partition
from detector.ingest.decoder import Decoder, feature_decoder, metric_decoder
from detector.ingest.format import FormatKind
from detector.ingest.formats.registry import FORMATS
from detector.model.bundle import BUILTIN, Bundle, load_bundle
from detector.notify.receiver import Receiver, ReceiverContext
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
) -> Decoder[Any]:
    """Decodes the configured format, keyed as the bundle asks. Raises ConfigError."""
    kind = format_kind(settings)
    max_bytes = settings.kafka.max_record_bytes
    if bundle.manifest.each_metric:
        return metric_decoder(kind, max_bytes, on_unknown)
    return feature_decoder(kind, bundle.feature_names, max_bytes, on_unknown)


def format_kind(settings: Settings) -> FormatKind:
    """The configured format. Raises ConfigError if there is no such format."""
    name = settings.kafka.format
    kind = FORMATS.get(name)
    if kind is None:
        known = ", ".join(FORMATS)
        raise ConfigError(
            f"DETECTOR_KAFKA__FORMAT: there is no format {name!r}; use one of {known}"
        )
    return kind


def make_store(settings: Settings, clock: Clock) -> Store:
    """Where states are kept. Raises ConfigError."""
    recovery = settings.recovery
    if recovery.topic is None:
        return LocalStore(recovery.directory or Path())
    if recovery.topic in settings.kafka.topics:
        raise ConfigError(
            f"DETECTOR_RECOVERY__STORE: {recovery.topic} is an input topic:"
            " name one that holds nothing else"
        )
    return KafkaStore(settings.kafka, recovery.topic, clock)


def make_receivers(settings: Settings, clock: Clock) -> dict[str, Receiver]:
    """Receivers by name. Raises ConfigError."""
    alerting = settings.alerting
    context = ReceiverContext(alerting.labelling(), alerting.external_url, clock)
    return {r.name: r.receiver(context) for r in alerting.destinations()}
