"""Every command line that a page or an example of ``--help`` shows can be parsed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from detector.cli.main import streamwarden

ROOT = Path(__file__).parents[4]
CONTEXT = click.Context(streamwarden)
COMMANDS = {
    name: streamwarden.get_command(CONTEXT, name)
    for name in streamwarden.list_commands(CONTEXT)
}
SHOWN = re.compile(
    r"(?:streamwarden|python -m (?:detector|training)) ([a-z]+ [^`#\n|&]+)"
)


def texts() -> dict[str, str]:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    helps = {f"{name} --help": c.help or "" for name, c in COMMANDS.items() if c}
    return {page.name: page.read_text() for page in pages} | helps


def command_lines() -> list[tuple[str, str]]:
    """Where each is shown, and the line without the program's name."""
    return [
        (where, line)
        for where, text in texts().items()
        for line in SHOWN.findall(text.replace("\\\n", " "))
        if line.split()[0] in COMMANDS and "--" in line
    ]


@pytest.mark.parametrize(("where", "line"), command_lines())
def test_a_command_line_that_is_shown_parses(where: str, line: str) -> None:
    name, *arguments = shlex.split(line)
    command = COMMANDS[name]
    assert command is not None
    command.make_context(name, arguments)


def test_every_command_is_shown_somewhere() -> None:
    shown = {line.split()[0] for _, line in command_lines()}
    assert shown == set(COMMANDS)
