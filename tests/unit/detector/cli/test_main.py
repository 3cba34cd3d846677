"""The command line: sections, exit statuses, one sentence for each error, extras."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest

from detector.cli.command_group import OPTIONAL_MODULES
from detector.cli.main import main, main_of_module, streamwarden

ROOT = Path(__file__).parents[4]
RUN_MAIN = "import sys; from detector.cli.main import main; sys.exit(main())"


def run(*arguments: str, blocked: str = "", **environment: str) -> tuple[int, str, str]:
    """The command in a process of its own, as if the modules ``blocked`` were absent.

    Gives exit status, output and errors.
    """
    absent = "".join(f"sys.modules[{name!r}] = None; " for name in blocked.split())
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {absent}{RUN_MAIN}", *arguments],
        env=os.environ | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_help_groups_the_commands_and_names_the_exit_statuses(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    places = [
        shown.index(text)
        for text in (
            "Run the daemon:",
            "  run  ",
            "  check  ",
            "Change a running daemon:",
            "  reload  ",
            "Look back:",
            "  replay  ",
            "Train and judge:",
            "  fit  ",
            "  evaluate  ",
            "  compare  ",
            "Exit status:",
        )
    ]
    assert places == sorted(places)
    assert "_STREAMWARDEN_COMPLETE=bash_source" in shown


@pytest.mark.parametrize(
    "name", streamwarden.list_commands(click.Context(streamwarden))
)
def test_the_help_of_a_command_has_examples_and_explains_every_option(
    name: str,
) -> None:
    context = click.Context(streamwarden)
    command = streamwarden.get_command(context, name)
    assert command is not None
    assert f"streamwarden {name}" in (command.help or "")
    options = [p for p in command.params if isinstance(p, click.Option)]
    assert all(option.help for option in options)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["replay", "--score", "x"], "streamwarden: No such option '--score'"),
        (["inspec"], "streamwarden: No such command 'inspec'. Did you mean 'inspect'?"),
        (["replay"], "streamwarden: Missing option '--data'"),
        (["replay", "--data", "d.csv"], "streamwarden: Give --scores, --alerts or"),
        (["run", "--config", "/no.toml"], "streamwarden: /no.toml can't be read"),
    ],
)
def test_an_error_ends_in_a_sentence_and_status_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith(sentence)
    assert not shown.out


def test_no_command_shows_the_help_and_status_2(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert "Run the daemon:" in capsys.readouterr().err


def test_an_interrupt_is_status_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("detector.cli.check.load", interrupted)
    assert main(["check"]) == 130


@pytest.mark.parametrize(
    ("blocked", "extra", "arguments"),
    [
        ("pyarrow", "replay", ["replay", "--data", "d.csv", "--scores", "s.csv"]),
        ("torch", "training", ["fit", "--data", "d.csv", "--out", "b"]),
        ("onnx", "training", ["fit", "--data", "d.csv", "--out", "b"]),
        ("rich", "training", ["evaluate", "--data", "d.csv"]),
        ("pyarrow", "training", ["compare", "a", "b", "--data", "d.csv"]),
        ("training", "training", ["fit", "--data", "d.csv", "--out", "b"]),
    ],
)
def test_a_command_without_its_extra_says_how_to_install_it(
    tmp_path: Path, blocked: str, extra: str, arguments: list[str]
) -> None:
    status, out, err = run(*arguments, blocked=blocked)
    assert (status, out) == (2, "")
    assert err.startswith(f"streamwarden: `{arguments[0]}` needs {blocked}, which is")
    assert err.endswith(f"pip install 'streamwarden[{extra}]'\n")
    assert err.count("\n") == 1


def test_the_optional_modules_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    named = {
        requirement.partition(">=")[0]
        for extra in ("replay", "training")
        for requirement in extras[extra]
    }
    assert {"training", *named} == OPTIONAL_MODULES


def test_the_daemon_imports_neither_a_file_reader_nor_training() -> None:
    code = (
        "import sys, detector.cli.main, detector.cli.run, detector.cli.check;"
        " print(sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.replace("'", "").strip("[]\n").split(", "))
    assert "onnxruntime" in loaded
    # structlog imports rich if it is there
    assert not loaded & OPTIONAL_MODULES - {"rich"}


def test_the_help_of_training_needs_no_extra() -> None:
    blocked = " ".join(OPTIONAL_MODULES - {"training"})
    status, out, _ = run("fit", "--help", blocked=blocked)
    assert status == 0
    assert "--allow-worse" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("streamwarden re", {"replay", "redrive", "reload"}),
        ("streamwarden fit --al", {"--allow-worse"}),
        ("streamwarden fit --detector p", {"pca"}),
    ],
)
def test_a_shell_completes_commands_options_and_choices(
    words: str, expected: set[str]
) -> None:
    _, out, _ = run(
        _STREAMWARDEN_COMPLETE="bash_complete",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
    )
    assert {line.partition(",")[2] for line in out.splitlines()} == expected


def test_the_daemons_module_offers_the_daemons_commands(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main_of_module(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: python -m detector" in shown
    assert "  replay  " in shown
    assert "  fit  " not in shown
