"""A preset: a producer's JSON, how it is recognised, and the mapping of it.

A preset is data. It is recognised by the record's own fields and by their types, never
by what came before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from detector.ingest.json_objects.mapping import RecordMapping
from detector.ingest.json_objects.paths import NOTHING, Fields, lookup

TEXT: Final = (str,)
NUMBER: Final = (int, float)
TEXT_OR_NUMBER: Final = (str, int, float)
OBJECT: Final = (dict,)
TEXT_OR_OBJECT: Final = (str, dict)
ARRAY: Final = (list,)
ANY: Final = (str, int, float, bool, dict, list, type(None))

Shape = Mapping[str, tuple[type, ...]]


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of record of one producer.

    Attributes:
        name: the format that a topic's setting names.
        shape: fields that such a record has, by path, and the types that they may have.
        mapping: what its fields are.
        one_of: fields of which it has at least one; empty: none is asked for.
        element: the shape of the elements of the mapping's array, if it has one.
        holds_points: whether it holds a point at all; a producer may write other kinds
            of records to the same topic, and those are no errors.
    """

    name: str
    shape: Shape
    mapping: RecordMapping
    one_of: Sequence[str] = ()
    element: Shape | None = None
    holds_points: bool = True

    def fits(self, fields: Fields) -> bool:
        """Whether a record is of this kind."""
        if not _has(fields, self.shape):
            return False
        if self.one_of and not any(name in fields for name in self.one_of):
            return False
        return self.element is None or self._elements_fit(fields, self.element)

    def _elements_fit(self, fields: Fields, shape: Shape) -> bool:
        array = fields.get(self.mapping.records)
        if not isinstance(array, list) or not array:
            return False
        first: Any = array[0]
        return isinstance(first, dict) and _has(first, shape)


def markers(presets: Iterable[Preset]) -> frozenset[str]:
    """First names of all fields that presets are recognised by."""
    return frozenset(
        path.partition(".")[0]
        for preset in presets
        for path in chain(preset.shape, preset.one_of)
    )


def _has(fields: Fields, shape: Shape) -> bool:
    for path, types in shape.items():
        found = fields.get(path, NOTHING)
        if found is NOTHING and "." in path:
            found = lookup(fields, path)
        if type(found) not in types:
            return False
    return True
