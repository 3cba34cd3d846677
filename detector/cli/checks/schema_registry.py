"""What keeps the daemon from the schemas of framed records."""

from __future__ import annotations

from collections.abc import Iterator

from detector.clock import SystemClock
from detector.compose import make_schema_registry
from detector.errors import ConfigError, Transient
from detector.settings.load import Settings


def registry_faults(settings: Settings) -> Iterator[str]:
    """Whether the registry answers, and lets this daemon read schemas."""
    try:
        registry = make_schema_registry(settings.kafka, SystemClock())
        if registry is not None:
            registry.examine()
            registry.close()
    except ConfigError as error:
        yield str(error)
    except Transient as error:
        yield f"[kafka.schema_registry]: {error}"
