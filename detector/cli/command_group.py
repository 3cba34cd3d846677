"""A click group whose commands load when they are called, and one exit status for all.

A command's libraries take seconds to import, and some come with an extra of the
package only. The group therefore knows each command's module, summary and extra, and
imports nothing for ``--help`` or for shell completion.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import click
from click.shell_completion import CompletionItem

from detector.errors import ConfigError, DetectorError

#: What only an extra of the package brings; a test holds it to ``pyproject.toml``.
OPTIONAL_MODULES = frozenset(
    {
        "matplotlib",
        "onnx",
        "onnxscript",
        "pyarrow",
        "rich",
        "torch",
        "training",
    }
)
OPERATOR_MUST_ACT = 2  # exit status
INTERRUPTED = 130  # exit status: 128 + SIGINT


@dataclass(frozen=True, slots=True)
class LazyCommand:
    """Where a command is, and what its group says without importing it.

    Attributes:
        module: name of the module that holds the click command, as a global of the
            command's own name.
        summary: one line for the group's help.
        extra: the package's extra that brings the libraries of the command, or None.
    """

    module: str
    summary: str
    extra: str | None = None


Section = Mapping[str, LazyCommand]


class CommandGroup(click.Group):
    """Commands in titled sections, each imported at its first use."""

    def __init__(
        self,
        sections: Mapping[str, Section],
        text: str,
        epilog: str,
        others: Collection[str] = (),
    ) -> None:
        """``others``: commands that only ``streamwarden`` itself has."""
        super().__init__(
            help=text,
            epilog=epilog,
            context_settings={"show_default": True, "max_content_width": 88},
        )
        self._others = others
        self._sections = sections
        self._entries = {
            name: entry
            for section in sections.values()
            for name, entry in section.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Raises ConfigError if the command needs an extra that is not installed."""
        entry = self._entries.get(cmd_name)
        if entry is None:
            return None
        with _extra_in_a_sentence(cmd_name, entry.extra):
            command = getattr(importlib.import_module(entry.module), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            name = error.command_name
            if name in self._others:
                text = f"{ctx.info_name} has no {name}: run `streamwarden {name}`"
                raise click.UsageError(text, ctx) from None
            # click suggests from the commands that are loaded, and none is
            raise click.NoSuchCommand(
                name, possibilities=list(self._entries), ctx=ctx
            ) from None

    def invoke(self, ctx: click.Context) -> object:
        with _carry_broken_pipe():
            try:
                return super().invoke(ctx)
            except ModuleNotFoundError as error:
                name = str(ctx.invoked_subcommand)
                raise _missing_extra(name, self._entries[name].extra, error) from None

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: object,
    ) -> click.Context:
        with _carry_broken_pipe():  # --help prints here
            return super().make_context(info_name, args, parent, **extra)

    def format_commands(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        widest = max(map(len, self._entries))
        for title, section in self._sections.items():
            rows = [
                (name.ljust(widest), entry.summary) for name, entry in section.items()
            ]
            with formatter.section(title):
                formatter.write_dl(rows)

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=entry.summary)
            for name, entry in self._entries.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)


def invoke(
    group: CommandGroup, arguments: Sequence[str] | None, program: str | None
) -> int:
    """Run a command line and give its exit status; errors become one sentence.

    Args:
        group: the commands.
        arguments: without the program's name; None takes those of the process.
        program: its name in usage lines and in the variable that completion sets;
            None takes that of the process.
    """
    given = None if arguments is None else list(arguments)
    try:
        status = group.main(given, program, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return OPERATOR_MUST_ACT
    except click.UsageError as error:
        _show_usage(error)
        return OPERATOR_MUST_ACT
    except DetectorError as error:
        click.echo(f"streamwarden: {error}", err=True)
        return OPERATOR_MUST_ACT
    except click.Abort:
        return INTERRUPTED
    except _CarriedBrokenPipe as carried:
        raise carried.error from None
    return int(status or 0)


def _show_usage(error: click.UsageError) -> None:
    """Usage, hint and sentence, as click shows them but under the program's name."""
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        hint = f"Try '{error.ctx.command_path} --help' for help.\n"
        click.echo(hint, err=True)
    click.echo(f"streamwarden: {error.format_message()}", err=True)


class _CarriedBrokenPipe(Exception):
    """Takes a BrokenPipeError past click, which would end the process with status 1.

    :mod:`detector.cli.broken_pipe` gives it the status that it must have.
    """

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__()
        self.error = error


@contextlib.contextmanager
def _carry_broken_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _CarriedBrokenPipe(error) from None


@contextlib.contextmanager
def _extra_in_a_sentence(command: str, extra: str | None) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise _missing_extra(command, extra, error) from None


def _missing_extra(
    command: str, extra: str | None, error: ModuleNotFoundError
) -> Exception:
    """The sentence that names the extra, or the error itself if no extra helps."""
    module = str(error.name).partition(".")[0]
    if extra is None or module not in OPTIONAL_MODULES:
        return error
    return ConfigError(
        f"`{command}` needs {module}, which is not installed:"
        f" pip install 'streamwarden[{extra}]'"
    )


def on_terminal() -> bool:
    """Whether standard error, where progress goes, is a terminal."""
    return sys.stderr.isatty()
