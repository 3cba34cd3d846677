"""Plots as the pages carry them: PNG in the page itself, the same bytes for the same
figures.
"""

from __future__ import annotations

import base64
import io
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Plot:
    title: str
    image: str
    caption: str


def styled() -> AbstractContextManager[None]:
    return mpl.rc_context(
        {
            "svg.hashsalt": "streamwarden",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    )


def sheet(height: float = 2.6) -> Figure:
    return Figure(figsize=(8.5, height), layout="constrained")


def png(figure: Figure) -> str:
    """A data URL."""
    out = io.BytesIO()
    figure.savefig(
        out,
        format="png",
        dpi=80,
        metadata={"Software": None},
    )
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def rendered(template: str, **values: Any) -> bytes:
    """UTF-8 HTML of a template beside this module."""
    environment = jinja2.Environment(autoescape=True, trim_blocks=True)
    return (
        environment.from_string(Path(__file__).with_name(template).read_text())
        .render(**values)
        .encode()
    )
