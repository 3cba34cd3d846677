"""What a setting takes, in plain words, in place of pydantic's sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from detector.setting_types import models_in, types_in

# pydantic's names of faults, see https://docs.pydantic.dev/latest/errors/
_NUMBER_FAULTS: Final = {
    "finite_number",
    "float_parsing",
    "float_type",
    "greater_than",
    "greater_than_equal",
    "int_from_float",
    "int_parsing",
    "int_parsing_size",
    "int_type",
    "less_than",
    "less_than_equal",
}
_SENTENCES: Final = {
    "bool_parsing": "give true or false",
    "bool_type": "give true or false",
    "dict_type": "give a table",
    "list_type": "give a list",
    "mapping_type": "give a table",
    "missing": "it is missing: add it",
    "model_attributes_type": "give a table",
    "model_type": "give a table",
    "path_type": "give a path, in quotes",
    "string_too_short": "it is empty: give a value",
    "string_type": "give a text, in quotes",
    "too_short": "it is empty: give a value",
    "tuple_type": "give a list",
}


def message(detail: ErrorDetails, field: FieldInfo | None = None) -> str:
    """What is wrong, and what ``field`` takes, without the value: it may be secret."""
    kind = detail["type"]
    if kind in _NUMBER_FAULTS and field is not None:
        return f"give {_number(field)}"
    if kind == "literal_error":
        expected = detail["ctx"]["expected"].replace("'", "")
        return f"give {expected}"
    return _SENTENCES.get(kind) or detail["msg"].removeprefix("Value error, ")


def field_at(model: type[BaseModel], parts: Sequence[str]) -> FieldInfo | None:
    """The field at a place in a model; None if there is none."""
    for table in tables_at(model, parts[:-1]):
        for name, field in table.model_fields.items():
            if parts[-1] in (name, field.alias):
                return field
    return None


def tables_at(
    model: type[BaseModel], parts: Sequence[str]
) -> Sequence[type[BaseModel]]:
    """The tables at a place in a model: several if a table has variants."""
    tables = [model]
    for part in parts:
        # an index of a list, or the kind of a variant, names no field
        tables = _inner_tables(part, tables) or tables
    return tables


def _inner_tables(
    part: str, tables: Sequence[type[BaseModel]]
) -> list[type[BaseModel]]:
    found: list[type[BaseModel]] = []
    for table in tables:
        field = table.model_fields.get(part)
        if field is not None:
            found += models_in(field.annotation)
    return found


def _number(field: FieldInfo) -> str:
    """``a whole number from 1 to 1,000,000``."""
    is_whole = float not in types_in(field.annotation)
    noun = "a whole number" if is_whole else "a number"
    limits = _limits(field)
    if "ge" in limits and "le" in limits:
        return f"{noun} from {limits['ge']} to {limits['le']}"
    words = {"gt": "over {}", "ge": "{} or more", "lt": "below {}", "le": "at most {}"}
    bounds = [words[name].format(limit) for name, limit in limits.items()]
    return f"{noun}, {' and '.join(bounds)}" if bounds else noun


def _limits(field: FieldInfo) -> dict[str, str]:
    """The lower limit first, then the upper one, as text."""
    found: dict[str, str] = {}
    for name in ("gt", "ge", "lt", "le"):
        for constraint in field.metadata:
            limit = getattr(constraint, name, None)
            if limit is not None:
                found[name] = f"{limit:,}"
    return found
