"""``streamwarden``: every command, and what each exit status means."""

from __future__ import annotations

from collections.abc import Sequence

import click

from detector import __version__
from detector.cli.broken_pipe import exit_on_broken_pipe
from detector.cli.command_group import CommandGroup, LazyCommand, Section, invoke

DAEMON: Section = {
    "run": LazyCommand("detector.cli.run", "read, score and alert until stopped"),
    "check": LazyCommand(
        "detector.cli.check",
        "say what would keep the daemon from running",
    ),
    "notify": LazyCommand(
        "detector.cli.notify",
        "send a marked sample to receivers",
    ),
    "inspect": LazyCommand(
        "detector.cli.inspect",
        "show what a topic holds, and the settings for it",
    ),
    "redrive": LazyCommand(
        "detector.cli.redrive",
        "put dead letters back into the topics they came from",
    ),
}
RUNNING: Section = {
    "reload": LazyCommand(
        "detector.cli.control",
        "have a daemon read its settings and bundle again",
    ),
    "shadow": LazyCommand(
        "detector.cli.control",
        "let a second bundle score beside the first",
    ),
    "promote": LazyCommand(
        "detector.cli.control",
        "put the bundle in shadow in force",
    ),
    "rollback": LazyCommand(
        "detector.cli.control",
        "go back to what was in force before",
    ),
}
LOOK_BACK: Section = {
    "replay": LazyCommand(
        "detector.cli.replay",
        "show what the daemon would have raised on files",
        extra="replay",
    ),
    "rules": LazyCommand(
        "detector.cli.rules",
        "say what rules would have changed on files",
        extra="replay",
    ),
}
TRAINING: Section = {
    "fit": LazyCommand(
        "training.cli",
        "train a bundle on history and report on it",
        extra="training",
    ),
    "evaluate": LazyCommand(
        "training.cli",
        "show what a bundle finds and misses in labelled data",
        extra="training",
    ),
    "compare": LazyCommand(
        "detector.cli.compare",
        "show where two bundles differ, live or on the same data",
        extra="training",
    ),
}

SUMMARY = """Streaming anomaly detection on Kafka, with a budget of false alarms.

COMMAND --help lists the options of a command and shows examples.
"""
EXIT_STATUSES = """\b
Exit status:
  0      done
  2      you must act: one sentence on standard error says what to do
  1      a fault of the program itself, with a traceback
  130    interrupted
  128+n  ended by signal n: 141 if whoever read the output closed it

\b
Shell completion, for bash (or zsh, fish):
  eval "$(_STREAMWARDEN_COMPLETE=bash_source streamwarden)"
"""


#: All commands, by the sections of the help.
SECTIONS = {
    "Run the daemon": DAEMON,
    "Change a running daemon": RUNNING,
    "Look back": LOOK_BACK,
    "Train and judge": TRAINING,
}


def group(*titles: str) -> CommandGroup:
    """A group of these sections, with the options and the help of the program."""
    sections = {title: SECTIONS[title] for title in titles}
    others = [
        name
        for title, section in SECTIONS.items()
        for name in section
        if title not in sections
    ]
    made = CommandGroup(sections, SUMMARY, EXIT_STATUSES, others)
    version = click.version_option(__version__, message="%(prog)s %(version)s")
    return version(made)


streamwarden = group(*SECTIONS)


@exit_on_broken_pipe
def main(arguments: Sequence[str] | None = None) -> int:
    """The installed command. Returns its exit status."""
    return invoke(streamwarden, arguments, "streamwarden")


@exit_on_broken_pipe
def main_of_module(arguments: Sequence[str] | None = None) -> int:
    """``python -m detector``: the commands of the daemon's own package."""
    commands = group("Run the daemon", "Change a running daemon", "Look back")
    return invoke(commands, arguments, "python -m detector")
