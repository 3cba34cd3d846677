"""TOML files of settings, for the daemon and for training."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from detector.errors import ConfigError

# a table, an item of an array of tables, or the name of a value
_TABLE: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]")
_ITEM: Final = re.compile(r"\s*\[\[\s*([\w.-]+)\s*\]\]")
_VALUE: Final = re.compile(r"\s*([\w.-]+)\s*=")


def read_toml(path: Path | None) -> dict[str, Any]:
    """The tables of a file; nothing without one. Raises ConfigError."""
    if path is None:
        return {}
    try:
        text = path.read_text()
        return tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {_cause(text, error)}") from None


def _cause(text: str, error: tomllib.TOMLDecodeError) -> str:
    """What is wrong; the parser does not say so of a list that is written twice."""
    items = {found[1] for line in text.splitlines() if (found := _ITEM.match(line))}
    table = ""
    for line in text.splitlines():
        if found := _ITEM.match(line) or _TABLE.match(line):
            table = f"{found[1]}."
        elif (found := _VALUE.match(line)) and f"{table}{found[1]}" in items:
            name = f"{table}{found[1]}"
            return (
                f"it has both `{name}` = … and [[{name}]]:"
                f" give each item a table [[{name}]], and remove the other"
            )
    return str(error)
