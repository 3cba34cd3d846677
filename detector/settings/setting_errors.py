"""Sentences about faulty settings: which one, where it was given, what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence, Set
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from detector.setting_types import models_in

Naming = Callable[[Sequence[str]], str]


class Places:
    """Where settings came from: a TOML file, the environment, or both.

    Args:
        prefix: of environment variables.
        path: of the file, or None.
        variables: names in the environment.
    """

    def __init__(self, prefix: str, path: Path | None, variables: Iterable[str]):
        self._prefix = prefix
        self._path = path
        self._variables = {name.upper() for name in variables}

    def name(self, parts: Sequence[str]) -> str:
        """What a setting is called where it was given.

        That is a variable, or a key of the file; a whole table may be in both.
        """
        setting = f"{self._prefix}{'__'.join(parts[:2])}".upper()
        given_as = {setting, f"{setting}_FILE"}
        is_variable = not given_as.isdisjoint(self._variables)
        if self._path is None or is_variable:
            return f"{self._prefix}{'__'.join(parts)}".upper()
        in_both = any(name.startswith(f"{setting}__") for name in self._variables)
        where = f"{self._path} and the environment" if in_both else str(self._path)
        return f"{'.'.join(parts)} in {where}"


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
    return f"{name}: {message(detail)}"


def message(detail: ErrorDetails) -> str:
    """What is wrong, in the words of whoever found it."""
    return detail["msg"].removeprefix("Value error, ")


def _siblings(model: type[BaseModel], parts: Sequence[str]) -> Set[str]:
    """The names that a table has where the last of ``parts`` is not one of them."""
    tables = [model]
    for part in parts[:-1]:
        # an index of a list, or the kind of a variant, names no field
        tables = _tables_at(part, tables) or tables
    names: set[str] = set()
    for table in tables:
        names |= {field.alias or name for name, field in table.model_fields.items()}
    return names


def _tables_at(part: str, tables: Sequence[type[BaseModel]]) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for table in tables:
        field = table.model_fields.get(part)
        if field is not None:
            found += models_in(field.annotation)
    return found
