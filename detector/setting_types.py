"""Types that settings share, and which settings are secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, SecretStr
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, str)
        else value
    )


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def secret_fields(model: type[BaseModel]) -> Iterator[str]:
    """The names of the settings that are one secret, or a list of secrets.

    Tables with secrets in them are left out: they have no ``_file`` of their own.
    """
    for name, field in model.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        if any(kind is SecretStr for kind in kinds) and not _is_table(field.annotation):
            yield name


def _is_table(annotation: object) -> bool:
    origin = get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)
