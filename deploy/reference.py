"""Writes docs/reference from the code's own schemas: ``python -m deploy.reference``.

Every page is a function of the code, so a page that differs from it is a bug; a test
compares them. ``--check`` writes nothing and exits with 1 if a page is out of date.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import inspect
import sys
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from detector.cli.main import TRAINING, streamwarden
from detector.errors import RejectReason
from detector.events import AnomalyKind, Phase, Reason
from detector.metrics import declared_metrics
from detector.notify.backlog_summary import ALERT_NAME as BACKLOG
from detector.notify.backlog_summary import ANNOTATIONS as OF_BACKLOG
from detector.notify.payload import ANNOTATIONS, AlertBody, Body
from detector.setting_types import holds_secret, models_in
from detector.settings.load import PREFIX, Settings
from detector.web.server import COMMANDS, ROUTES
from training.cli import compare as compare_on_data
from training.settings import FitSettings

HELP_WIDTH = 88  # columns of a command's help
PAGES = Path(__file__).parents[1] / "docs" / "reference"
_NOTE = "<!-- Made by `make docs` from the code. Change the code, not this page. -->"


def pages() -> dict[str, str]:
    """Name of each page, without its suffix, to its text."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "settings": settings_page,
        "metrics": metrics_page,
        "api": api_page,
        "payload": payload_page,
        "cli": cli_page,
    }
    return {name: "\n".join([_NOTE, "", *page()]) + "\n" for name, page in made.items()}


# -- settings --------------------------------------------------------------------------


def settings_page() -> Iterator[str]:
    yield "# Settings"
    yield ""
    yield "The environment overrides the TOML file, and the file overrides the defaults."
    yield "`DETECTOR_KAFKA__TOPICS` is `topics` in the table `[kafka]` of the file."
    yield "Lists in the environment are comma-separated, and tables are JSON."
    yield "Every secret can also come from a file: add `_FILE` to the variable's name."
    yield "`streamwarden check` prints all effective values, with secrets masked."
    for room, field in Settings.model_fields.items():
        inner = field.annotation
        if _is_model(inner):
            yield from _room(room, inner)
    yield from fit_settings()
    yield ""
    yield "## The process"
    yield ""
    yield from _settings_table(
        (f"{PREFIX}{name.upper()}", field)
        for name, field in Settings.model_fields.items()
        if not _is_model(field.annotation)
    )


def fit_settings() -> Iterator[str]:
    yield ""
    yield "## Settings of `fit`"
    yield ""
    yield "They are keys of the TOML file that `fit --config` names."
    yield "Some are options of the command too."
    yield ""
    yield from _settings_table(FitSettings.model_fields.items())


def _room(room: str, model: type[BaseModel]) -> Iterator[str]:
    yield ""
    yield f"## `[{room}]`"
    yield ""
    yield f"{_summary(model)}"
    yield ""
    prefix = f"{PREFIX}{room.upper()}__"
    plain = {n: f for n, f in model.model_fields.items() if not models_in(f.annotation)}
    yield from _settings_table((prefix + n.upper(), f) for n, f in plain.items())
    for name, field in model.model_fields.items():
        for inner in models_in(field.annotation):
            yield ""
            table = field.title or name
            yield f"### `[[{room}.{table}]]`{_kind_note(inner)}"
            yield ""
            yield f"{_summary(inner)} In the environment, the whole list is JSON."
            yield ""
            yield from _settings_table(
                (f.alias or n, f) for n, f in inner.model_fields.items()
            )
            yield from _inner_tables(f"{room}.{table}", inner)


def _inner_tables(table: str, model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if not _is_model(field.annotation):
            continue
        yield ""
        yield f"#### `[{table}.{name}]`"
        yield ""
        yield _summary(field.annotation)
        yield ""
        yield from _settings_table(field.annotation.model_fields.items())


def _kind_note(model: type[BaseModel]) -> str:
    """`` with `kind = "…"` `` for a variant of a tagged union."""
    field = model.model_fields.get("kind")
    kinds = typing.get_args(field.annotation) if field is not None else ()
    return f' with `kind = "{kinds[0]}"`' if kinds else ""


def _settings_table(rows: typing.Iterable[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield "| name | what it is | default |"
    yield "| --- | --- | --- |"
    for name, field in rows:
        secret = " (secret)" if holds_secret(field.annotation) else ""
        what = _cell(field.description or "") + secret
        yield f"| `{name}` | {what} | {_default(field)} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    is_nothing = value is None or value in ("", (), {})
    if is_nothing or dataclasses.is_dataclass(value) or isinstance(value, BaseModel):
        return ""
    if isinstance(value, tuple):
        return f"`{','.join(map(str, value))}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, Enum):
        return f"`{value.value}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _is_model(annotation: object) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


# -- metrics ---------------------------------------------------------------------------


def metrics_page() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "`GET /metrics` serves these in Prometheus' text format."
    yield "No metric has a label for a stream. Every label set exists from the start, at 0."
    yield ""
    yield "| metric | type | what it is | labels |"
    yield "| --- | --- | --- | --- |"
    for metric in declared_metrics():
        labels = "; ".join(
            f"`{label}`: {', '.join(values)}" for label, values in metric.labels.items()
        )
        kind = metric.kind.__name__.lower()
        what = _cell(metric.help)
        yield f"| `{metric.exposed_name}` | {kind} | {what} | {labels} |"


# -- the HTTP API ----------------------------------------------------------------------


def api_page() -> Iterator[str]:
    yield "# HTTP endpoints"
    yield ""
    yield "They listen on `DETECTOR_WEB__LISTEN`. What only reads has no authentication."
    yield "What changes the daemon needs the token of `DETECTOR_WEB__TOKEN`, as"
    yield "`Authorization: Bearer TOKEN`; without that setting the API only reads."
    yield ""
    yield "| path | what it answers |"
    yield "| --- | --- |"
    for path, what in ROUTES.items():
        yield f"| `GET {path}` | {_cell(what)} |"
    for path, what in COMMANDS.items():
        yield f"| `{path}` | {_cell(what)} |"


# -- the payload -----------------------------------------------------------------------


def payload_page() -> Iterator[str]:
    yield "# What a webhook receives"
    yield ""
    yield "The body is Alertmanager's webhook JSON, version 4."
    yield "`replay --alerts` writes the entries of `alerts`, one a line."
    yield ""
    yield f"Fields of the body: {_names(Body.__struct_fields__)}."
    yield ""
    yield f"Fields of each entry of `alerts`: {_names(AlertBody.__struct_fields__)}."
    yield from _annotations("Annotations", ANNOTATIONS)
    yield from _annotations(f"Annotations of `{BACKLOG}`", OF_BACKLOG)
    yield from _enumeration("`reason`", Reason, lambda member: str(member.label))
    yield from _enumeration("`anomaly_kind`", AnomalyKind, lambda m: str(m.value))
    yield from _enumeration(
        "`status` of a row of `replay --scores`", Phase, lambda m: str(m.name.lower())
    )
    yield from _enumeration(
        "Why a record is rejected", RejectReason, lambda m: str(m.value)
    )


def _annotations(title: str, annotations: Mapping[str, str]) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""
    yield "| annotation | what it is |"
    yield "| --- | --- |"
    for name, what in annotations.items():
        yield f"| `{name}` | {_cell(what)} |"


def _enumeration(
    title: str, kind: type[Enum], shown: Callable[[Any], str]
) -> Iterator[str]:
    said = member_comments(kind)
    yield ""
    yield f"## {title}"
    yield ""
    yield "| value | meaning |"
    yield "| --- | --- |"
    for member in kind:
        yield f"| `{shown(member)}` | {_cell(said.get(member.name, ''))} |"


def member_comments(kind: type[Enum]) -> Mapping[str, str]:
    """Each member's comment: on its line, or on the lines above it."""
    lines = textwrap.dedent(inspect.getsource(kind)).splitlines()
    (tree,) = ast.parse("\n".join(lines)).body
    assert isinstance(tree, ast.ClassDef)
    found = {}
    for node in tree.body:
        if not isinstance(node, ast.Assign) or not isinstance(
            node.targets[0], ast.Name
        ):
            continue
        _, _, beside = lines[node.lineno - 1].partition("  # ")
        above: list[str] = []
        row = node.lineno - 2
        while lines[row].lstrip().startswith("# "):
            above.insert(0, lines[row].strip("# ").strip())
            row -= 1
        found[node.targets[0].id] = beside or " ".join(above)
    return found


# -- the command line -----------------------------------------------------------------


def cli_page() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "`streamwarden` is installed with the package."
    training = ", ".join(f"`{name}`" for name in TRAINING)
    yield (
        f"From a checkout, `python -m training` runs {training},"
        " and `python -m detector` the others."
    )
    root = click.Context(streamwarden, info_name="streamwarden")
    yield from _help(streamwarden, root, "streamwarden")
    for name in streamwarden.list_commands(root):
        command = streamwarden.get_command(root, name)
        assert command is not None
        context = click.Context(command, parent=root, info_name=name)
        yield from _help(command, context, f"streamwarden {name}")
    context = click.Context(compare_on_data, parent=root, info_name="compare")
    yield from _help(compare_on_data, context, "streamwarden compare A B")


def _help(command: click.Command, context: click.Context, title: str) -> Iterator[str]:
    context.max_content_width = context.terminal_width = HELP_WIDTH
    yield ""
    yield f"## `{title}`"
    yield ""
    yield "```"
    yield from (line.rstrip() for line in command.get_help(context).splitlines())
    yield "```"


# -- words -----------------------------------------------------------------------------


def _summary(documented: type) -> str:
    paragraph = (inspect.getdoc(documented) or "").split("\n\n")[0]
    return " ".join(paragraph.split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    chosen = parser.parse_args(arguments)
    made = pages()
    paths = {PAGES / f"{name}.md": text for name, text in made.items()}
    stale = [p for p, text in paths.items() if not p.exists() or p.read_text() != text]
    if chosen.check:
        for path in stale:
            print(f"{path.name} is out of date: run `make docs`", file=sys.stderr)
        return 1 if stale else 0
    PAGES.mkdir(parents=True, exist_ok=True)
    for path, text in paths.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
