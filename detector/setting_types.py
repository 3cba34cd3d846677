"""Types that settings share, and what a setting's type says about it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, SecretStr
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    if not isinstance(value, str):
        return value
    return tuple(part.strip() for part in value.split(",") if part.strip())


#: Texts: a list in the TOML file, comma-separated in the environment.
Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


def compiled(pattern: str, name: str = "") -> re.Pattern[str]:
    """A regular expression; ``name`` says whose it is, if its setting has several.

    Raises ValueError, with the remedy, if it is not one.
    """
    try:
        return re.compile(pattern)
    except re.error as error:
        prefix = f"{name}: " if name else ""
        raise ValueError(
            f"{prefix}{pattern!r} is not a regular expression ({error}):"
            " escape with a backslash what it should take literally"
        ) from None


def _check_patterns(patterns: Mapping[str, str]) -> Mapping[str, str]:
    for name, pattern in patterns.items():
        compiled(pattern, name)
    return patterns


#: Regular expressions by the name of what each must match.
Patterns = Annotated[Mapping[str, str], AfterValidator(_check_patterns)]


def types_in(annotation: object) -> Iterator[object]:
    """An annotation and everything inside its brackets."""
    yield annotation
    for inner in get_args(annotation):
        yield from types_in(inner)


def models_in(annotation: object) -> list[type[BaseModel]]:
    """The models of nested tables in an annotation."""
    return [
        inner
        for inner in types_in(annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel)
    ]


def holds_secret(annotation: object) -> bool:
    """Whether a value of this type is a secret, or has one anywhere in it."""
    if any(inner is SecretStr for inner in types_in(annotation)):
        return True
    return any(
        holds_secret(field.annotation)
        for model in models_in(annotation)
        for field in model.model_fields.values()
    )


def is_plain_secret(annotation: object) -> bool:
    """Whether it is one secret, or None, and not a table or a list with secrets."""
    if get_origin(annotation) in (Union, UnionType):
        return set(get_args(annotation)) <= {SecretStr, NoneType}
    return annotation is SecretStr


def secret_fields(model: type[BaseModel]) -> Iterator[str]:
    """The names of the settings that are one secret, or a list of secrets.

    Tables with secrets in them are left out: they have no ``_file`` of their own.
    """
    for name, field in model.model_fields.items():
        listed = get_args(field.annotation) == (SecretStr, Ellipsis)
        if listed or is_plain_secret(field.annotation):
            yield name


def with_secrets_of_files(model: type[BaseModel], given: Any) -> Any:
    """The values of a table, with ``password_file`` read in place of ``password``.

    For a validator of mode "before": what is not a table is left to pydantic. Raises
    ValueError if a file can't be read, or if both are set.
    """
    if not isinstance(given, dict):
        return given
    values = dict(given)
    for name in secret_fields(model):
        file = values.pop(f"{name}_file", None)
        if file is None:
            continue
        if name in values:
            raise ValueError(f"{name} and {name}_file are both set: keep one")
        values[name] = _read(name, file)
    return values


def _read(name: str, file: object) -> str:
    """Raises ValueError."""
    try:
        return Path(str(file)).read_text().strip()
    except UnicodeDecodeError:
        cause = "it is not text"
    except OSError as error:
        cause = error.strerror or type(error).__name__
    raise ValueError(f"{name}_file: {file} can't be read ({cause})")
