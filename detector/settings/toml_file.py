"""TOML files of settings, for the daemon and for training."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from detector.errors import ConfigError


def read_toml(path: Path | None) -> dict[str, Any]:
    """The tables of a file; nothing without one. Raises ConfigError."""
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
