"""The framings, by the name that ``framing`` of a topic takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from detector.ingest.framing.array import Array
from detector.ingest.framing.confluent import Confluent
from detector.ingest.framing.lines import Lines
from detector.ingest.framing.none import NoFraming
from detector.ingest.framing.schema_registry import SchemaRegistry
from detector.ingest.messages import Framing

AUTO: Final = "auto"
# a framing needs the schema registry, if one is configured
Make = Callable[[SchemaRegistry | None], Framing]


def _automatic(registry: SchemaRegistry | None) -> Framing:
    """Frames by their first byte; a format that can tells lines and arrays."""
    return Confluent(registry, optional=True)


FRAMINGS: Final[Mapping[str, Make]] = {
    AUTO: _automatic,
    "none": lambda registry: NoFraming(),
    "lines": lambda registry: Lines(),
    "array": lambda registry: Array(),
    "confluent": Confluent,
}
