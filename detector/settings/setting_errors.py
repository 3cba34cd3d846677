"""Sentences about faulty settings: which one, where it was given, what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from detector.settings.plain_words import field_at, message, tables_at

# a name before a colon at the start, or one with an underscore
_SETTING = re.compile(r"^[a-z]+(?=:)|\b[a-z]+(?:_[a-z]+)+\b")

# tables of the file that the model keeps apart from the names beside them
_GIVEN_AS = {"topic_settings": "topics"}

Naming = Callable[[Sequence[str]], str]


class Places:
    """Where settings came from: a TOML file, the environment, or both.

    Args:
        prefix: of environment variables.
        path: of the file, or None.
        variables: names in the environment.
        tables: what the file holds.
    """

    def __init__(
        self,
        prefix: str,
        path: Path | None,
        variables: Iterable[str],
        tables: Mapping[str, Any],
    ) -> None:
        self._tables = tables
        self._prefix = prefix
        self._path = path
        self._variables = {name.upper() for name in variables}

    def name(self, parts: Sequence[str]) -> str:
        """What a setting is called where it was given.

        That is a variable, or a key of the file; a whole table may be in both. An item
        of a list has its place, counted from 1.
        """
        parts = [_GIVEN_AS.get(part, part) for part in parts]
        numbers = [i for i, part in enumerate(parts) if part.isdecimal()]
        if numbers:
            return self._name_of_item(parts[: numbers[0]], parts[numbers[0] :])
        setting = f"{self._prefix}{'__'.join(parts[:2])}".upper()
        given_as = {setting, f"{setting}_FILE"}
        is_variable = not given_as.isdisjoint(self._variables)
        if self._path is None or is_variable:
            return f"{self._prefix}{'__'.join(parts)}".upper()
        in_both = any(name.startswith(f"{setting}__") for name in self._variables)
        where = f"{self._path} and the environment" if in_both else str(self._path)
        return f"{'.'.join(parts)} in {where}"

    def _name_of_item(self, of_list: Sequence[str], inner: Sequence[str]) -> str:
        number, *rest = inner
        noun = of_list[-1].removesuffix("s")
        item = f"{noun} {int(number) + 1}{self._who(of_list, int(number))}"
        parts = [self.name(of_list), item]
        if rest:
            parts.append(".".join(rest))
        return ", ".join(parts)

    def _who(self, of_list: Sequence[str], number: int) -> str:
        """`` (receiver X)`` of a route, `` (X)`` of a receiver of the file, or ""."""
        setting = f"{self._prefix}{'__'.join(of_list)}".upper()
        if any(name.startswith(setting) for name in self._variables):
            return ""
        found: Any = self._tables
        try:
            for part in of_list:
                found = found[part]
            item = found[number]
            is_route = "receiver" in item
            return (
                f" (receiver {item['receiver']})" if is_route else f" ({item['name']})"
            )
        except (LookupError, TypeError):
            return ""


def sentence(error: ValidationError, model: type[BaseModel], named: Naming) -> str:
    """Every fault of a validation, each with its setting.

    ``named`` says what a setting is called where it was given, from the parts of its
    place in the model.
    """
    details = error.errors(include_url=False, include_input=False)
    return "; ".join(_fault(detail, model, named) for detail in details)


def suggestion(name: str, known: Iterable[str]) -> str:
    """``: did you mean X?`` for a name that is nearly one of those, else nothing."""
    nearest = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f": did you mean {nearest[0]}?" if nearest else ""


def _fault(detail: ErrorDetails, model: type[BaseModel], named: Naming) -> str:
    parts = [str(part) for part in detail["loc"]]
    name = named(parts)
    if detail["type"] == "extra_forbidden":
        nearest = suggestion(parts[-1], _siblings(model, parts))
        return f"no such setting: {name}{nearest}"
    text = message(detail, field_at(model, parts))
    if len(parts) == 1:
        return _of_a_table(text, parts[0], model, named)
    return f"{name}: {text}"


def _of_a_table(text: str, room: str, model: type[BaseModel], named: Naming) -> str:
    """A fault of several settings of a table; it names them as they were given.

    A setting is recognised at the start before a colon, and by its underscore.
    """
    (*_, table) = tables_at(model, [room])
    fields = table.model_fields

    def full_name(found: re.Match[str]) -> str:
        name = found[0]
        return named([room, name]) if name in fields else name

    first = _SETTING.match(text)
    is_first_named = first is not None and first[0] in fields
    named_text = _SETTING.sub(full_name, text)
    return named_text if is_first_named else f"{named([room])}: {named_text}"


def _siblings(model: type[BaseModel], parts: Sequence[str]) -> Set[str]:
    """The names that a table has if the last of ``parts`` is not one of them."""
    names: set[str] = set()
    for table in tables_at(model, parts[:-1]):
        names |= {field.alias or name for name, field in table.model_fields.items()}
    return names
