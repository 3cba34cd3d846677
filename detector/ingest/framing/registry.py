"""The framings, by the name that ``framing`` of a topic takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from detector.ingest.framing.array import Array
from detector.ingest.framing.lines import Lines
from detector.ingest.framing.none import NoFraming
from detector.ingest.messages import Framing

#: A format that can tells lines and arrays by their content.
AUTO: Final = "auto"

FRAMINGS: Final[Mapping[str, Callable[[], Framing]]] = {
    AUTO: NoFraming,
    "none": NoFraming,
    "lines": Lines,
    "array": Array,
}
