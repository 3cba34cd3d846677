"""The metrics of a record whose fields are metrics: one number each, by its name."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any, Final

from detector.errors import MissingReason
from detector.events import Labels
from detector.ingest import cells
from detector.ingest.format import UnknownFields
from detector.ingest.json_objects import statistics
from detector.ingest.json_objects.field_names import (
    STREAM,
    TIMESTAMP,
    identifies,
    is_clock,
    is_id,
    leaf,
    may_be_clock,
)
from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.paths import NOTHING, Place, as_text
from detector.ingest.row_builder import RowBuilder

NUMBERS: Final = frozenset((int, float))
_WILD: Final = frozenset("*?[")  # what makes a pattern of a name
_REMEMBERED: Final = 4096  # names of which it is remembered whether they are metrics


@dataclass(slots=True)
class Numbers:
    """The numbers of one row so far.

    Attributes:
        kinds, starts: of each number; empty if none is known.
        missing: values that can't be used.
        tags: fields that tell the row's stream apart.
        ignored: how many fields are left out that are no part of the format.
    """

    numbers: dict[str, float] = field(default_factory=dict)
    kinds: list[int] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    missing: list[tuple[str, MissingReason]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    ignored: int = 0

    def put(self, metric: str, cell: cells.Cell) -> None:
        """A value of a metric, or why there is none."""
        if isinstance(cell, MissingReason):
            self.missing.append((metric, cell))
        elif cell is not None:
            self.numbers[metric] = cell

    def extend(self, other: Numbers) -> None:
        """Numbers of other metrics of the same row."""
        self.numbers.update(other.numbers)
        self.kinds.extend(other.kinds)
        self.starts.extend(other.starts)
        self.missing.extend(other.missing)
        self.ignored += other.ignored

    def add_to(
        self,
        built: RowBuilder,
        message: int,
        row: tuple[str | None, Labels | None, Labels | None, float | str | None],
    ) -> None:
        """Add the row, with its name, tags, labels and time."""
        name, tags, labels, stamp = row
        for metric, reason in self.missing:
            built.miss(message, metric, reason)
        built.add(
            message,
            name,
            stamp,
            self.numbers,
            self.ignored,
            tags,
            labels,
            self.kinds or None,
            self.starts or None,
        )


class MetricFields:
    """Reads the numbers of a record's fields; objects in it give dotted names."""

    def __init__(
        self,
        mapping: RecordMapping,
        unknown: UnknownFields,
        wanted: Collection[str],
        used: Collection[str],
    ) -> None:
        """``used``: paths that the mapping takes something else from."""
        self._mapping = mapping
        self._unknown = unknown
        named = (name for name in mapping.metrics if _WILD.isdisjoint(name))
        self._wanted = frozenset((*wanted, *named))
        self._used = frozenset(
            (STREAM, TIMESTAMP, *used, *mapping.tags, *mapping.labels, mapping.quality)
        )
        self._include = _matcher(mapping.metrics)
        self._exclude = _matcher(mapping.exclude)
        self._tag = _matcher(mapping.tag_fields)
        self._is_metric: dict[str, bool] = {}
        self._takes_all = not (mapping.metrics or mapping.exclude)
        # a format that keeps its metrics apart from the rest has no clocks among them
        self._guesses = not mapping.inside

    def read(self, place: Place) -> Numbers | None:
        """The numbers of a record; None if it says that it holds none."""
        fields = place.fields
        if self._mapping.inside:
            inside = place.find(self._mapping.inside)
            if inside is NOTHING or inside is None:
                return None
            fields = inside if isinstance(inside, dict) else {}
            if self._takes_all and NUMBERS.issuperset(map(type, fields.values())):
                return Numbers(dict(fields))
        found = Numbers()
        self._walk(place, "", fields, found)
        if self._mapping.inside and not (found.numbers or found.missing):
            return None
        if self._mapping.quality and not is_good(self._mapping, place):
            found.missing = [(name, MissingReason.QUALITY) for name in found.numbers]
            found.numbers.clear()
        return found

    def _walk(
        self, place: Place, prefix: str, fields: Mapping[str, Any], found: Numbers
    ) -> None:
        for key, value in fields.items():
            name = f"{prefix}{key}"
            if value is None or name in self._used:
                continue
            if type(value) is not dict:
                self._leaf(place, name, value, found)
            elif statistics.is_set(value):
                wanted = self._mapping.statistics
                for metric, number in statistics.chosen(name, value, wanted).items():
                    if self._is_chosen(metric):
                        found.put(metric, number)
            else:
                self._walk(place, f"{name}.", value, found)

    def _leaf(self, place: Place, name: str, value: Any, found: Numbers) -> None:
        """A field that is neither null nor an object."""
        if not self._takes_all and not self._is_chosen(name):
            return
        if self._mapping.tag_fields and self._tag(name):
            tag = as_text(value)
            if tag:
                found.tags[leaf(name) if leaf(name) not in found.tags else name] = tag
            return
        if self._guesses and self._identifies(name, value):
            return
        number = self._number(name, value)
        if number is not None:
            found.put(name, number)
            return
        found.ignored += 1
        self._unknown.see(name, place.messages, place.message)

    def _number(self, name: str, value: Any) -> cells.Cell:
        """A number, why it is missing, or None for a field that is no metric."""
        is_wanted = name in self._wanted
        if not name:
            return None
        if type(value) is bool and not (is_wanted or self._mapping.booleans):
            return None
        number = cells.cell(value, self._mapping.decimal_comma)
        if number is None and is_wanted:
            is_text = isinstance(value, str)
            return MissingReason.TEXT if is_text else MissingReason.TYPE
        return number

    def _identifies(self, name: str, value: Any) -> bool:
        """Whether a field is a clock, or an id that nobody calls a metric."""
        if may_be_clock(name) and is_clock(value):
            return True
        is_called_metric = bool(self._mapping.metrics) or name in self._wanted
        if is_called_metric or type(value) is bool:
            return False
        return is_id(name) or identifies(value)

    def _is_chosen(self, name: str) -> bool:
        """Whether the patterns take a name."""
        known = self._is_metric.get(name)
        if known is None:
            is_in = not self._mapping.metrics or self._include(name)
            known = is_in and not (self._mapping.exclude and self._exclude(name))
            if len(self._is_metric) >= _REMEMBERED:
                self._is_metric.clear()
            self._is_metric[name] = known
        return known


def is_good(mapping: RecordMapping, place: Place) -> bool:
    """Whether the quality flag of a record, if it has one, says that it is good."""
    flag = place.find(mapping.quality)
    if flag is NOTHING or flag is None:
        return True
    if isinstance(flag, bool):
        return flag
    if isinstance(flag, int | float):
        # OPC: the two highest bits of a byte are set if the quality is good
        return flag >= _GOOD_OPC
    return str(flag).lower() in mapping.good


_GOOD_OPC: Final = 192


def _matcher(patterns: Collection[str]) -> Any:
    """Whether a whole name matches one of the patterns."""
    return re.compile("|".join(map(translate, patterns)) or r"(?!)").match
