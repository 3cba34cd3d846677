"""Paths to fields of a record, and templates of names over them.

A path is a dotted name: ``host.name`` is the field ``name`` of the object ``host``, or
a field that is called ``host.name``. A template is text with paths in braces, each with
alternatives: ``{host.name|agent.name}/{chart}``. It also knows ``key`` and ``topic`` of
the record, and its headers as ``header.NAME``; ``$.key`` is a field called ``key``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

from detector.ingest.messages import Messages

Fields = Mapping[str, Any]

_FIELD: Final = re.compile(r"\{([^{}]*)\}")
_OF_FIELDS: Final = "$."
_HEADER: Final = "header."
_KEY: Final = "key"
_TOPIC: Final = "topic"
NOTHING: Final = object()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path or a template looks.

    Attributes:
        fields: of the record, or of one element of an array of it.
        outer: of the record that the element is in; nothing if it is the record.
        message: index of the message in ``messages``.
    """

    fields: Fields
    outer: Fields | None
    messages: Messages
    message: int

    def find(self, path: str) -> Any:
        """The value at a path, or :data:`NOTHING`; the element's own field first."""
        found = lookup(self.fields, path)
        if found is NOTHING and self.outer is not None:
            return lookup(self.outer, path)
        return found

    def first(self, paths: Sequence[str]) -> Any:
        """The value of the first path that leads to one that is not null."""
        for path in paths:
            found = self.find(path)
            if found is not NOTHING and found is not None:
                return found
        return NOTHING


def lookup(fields: Fields, path: str) -> Any:
    """The value at a path, or :data:`NOTHING`."""
    if path in fields:
        return fields[path]
    head, dot, rest = path.partition(".")
    while dot:
        inner = fields.get(head, NOTHING)
        if isinstance(inner, Mapping):
            found = lookup(inner, rest)
            if found is not NOTHING:
                return found
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return NOTHING


def is_template(text: str) -> bool:
    """Whether it has fields in braces; else it is a path."""
    return _FIELD.search(text) is not None


@dataclass(frozen=True, slots=True)
class Template:
    """Text between fields, and the fields' alternatives.

    Attributes:
        texts: one more than there are fields.
        fields: the paths of each field, the first that is there counts.
    """

    texts: Sequence[str]
    fields: Sequence[Sequence[str]]

    @property
    def paths(self) -> Sequence[str]:
        """All fields of records that it looks at."""
        paths = chain.from_iterable(self.fields)
        return [p.removeprefix(_OF_FIELDS) for p in paths if not _is_of_record(p)]

    def text(self, place: Place) -> str | None:
        """The text with its fields; None if one of them is not there."""
        parts = [self.texts[0]]
        for paths, after in zip(self.fields, self.texts[1:], strict=True):
            found = _first_text(place, paths)
            if not found:
                return None
            parts.append(found)
            parts.append(after)
        return "".join(parts)


def template(text: str) -> Template:
    """A template, or a path as the template of this field alone."""
    if text and not is_template(text):
        text = f"{{{text}}}"
    pieces = _FIELD.split(text)
    fields = [
        tuple(path.strip() for path in piece.split("|")) for piece in pieces[1::2]
    ]
    return Template(tuple(pieces[::2]), tuple(fields))


def _is_of_record(path: str) -> bool:
    return path in (_KEY, _TOPIC) or path.startswith(_HEADER)


def _first_text(place: Place, paths: Sequence[str]) -> str | None:
    for path in paths:
        found = _text_at(place, path)
        if found:
            return found
    return None


def _text_at(place: Place, path: str) -> str | None:
    if path == _KEY:
        key = place.messages.key(place.message)
        return None if key is None else key.decode(errors="backslashreplace")
    if path == _TOPIC:
        return place.messages.raw.partition.topic
    if path.startswith(_HEADER):
        name = path.removeprefix(_HEADER)
        headers = dict(place.messages.headers(place.message))
        header = headers.get(name)
        return None if header is None else header.decode(errors="backslashreplace")
    return as_text(place.find(path.removeprefix(_OF_FIELDS)))


def as_text(value: object) -> str | None:
    """Text, a number or a boolean as a name has it; None for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    return None
