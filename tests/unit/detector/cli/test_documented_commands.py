"""Every command line that a page or an example of ``--help`` shows can be parsed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest

from detector.cli.main import TRAINING, main_of_module, streamwarden
from training.cli import main as main_of_training

ROOT = Path(__file__).parents[4]
CONTEXT = click.Context(streamwarden)
COMMANDS = {
    name: streamwarden.get_command(CONTEXT, name)
    for name in streamwarden.list_commands(CONTEXT)
}
SHOWN = re.compile(
    r"(?:streamwarden|python -m (?:detector|training)) ([a-z]+ [^`#\n|&]+)"
)
OF_MODULES = re.compile(r"python -m (detector|training) ([a-z]+)")
PROGRAMS: dict[str, Callable[[Sequence[str]], int]] = {
    "detector": main_of_module,
    "training": main_of_training,
}


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


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_module_has_a_command_or_says_where_it_is(
    program: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    has_it = (name in TRAINING) == (program == "training")
    assert PROGRAMS[program]([name, "--help"]) == (0 if has_it else 2)
    if not has_it:
        assert f"run `streamwarden {name}`" in capsys.readouterr().err


def test_no_page_shows_a_command_under_a_module_that_lacks_it() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    shown = {found for page in pages for found in OF_MODULES.findall(page.read_text())}
    named = {(module, name) for module, name in shown if name in COMMANDS}
    wrong = {it for it in named if (it[1] in TRAINING) != (it[0] == "training")}
    assert not wrong


def test_the_reference_says_which_commands_the_modules_have() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    (line,) = [each for each in text.splitlines() if "python -m training" in each]
    of_training, of_detector = line.split("python -m detector")
    assert all(f"`{name}`" in of_training for name in TRAINING)
    assert not any(f"`{name}`" in of_detector for name in TRAINING)
