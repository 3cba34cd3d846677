"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from detector.data.read_options import ReadOptions
from detector.model.bundle import BUILTIN, bundle_path
from detector.timestamps import check_form

_Command = TypeVar("_Command", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)
A_BUNDLE = (
    f"directory that `fit` wrote, or `{BUILTIN.name}`, the bundle of the package,"
    " in which each metric is a stream"
)


class BundleType(click.Path):
    """The directory of a bundle, or the word that names the built-in one."""

    name = "bundle"

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        return bundle_path(str(super().convert(value, param, ctx)))


class ZoneType(click.ParamType[Any]):
    """The name of a time zone."""

    name = "zone"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tzinfo:
        if isinstance(value, tzinfo):
            return value
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(
                f"there is no time zone {value!r}: name one as Europe/Berlin",
                param,
                ctx,
            )


config_option = click.option(
    "--config",
    type=FILE,
    metavar="FILE",
    help="TOML file of settings; the environment overrides it.",
)


def _check_form(context: click.Context, option: click.Parameter, form: str) -> str:
    try:
        if form:
            check_form(form)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return form


_data_option = click.option(
    "--data",
    type=FILE,
    required=True,
    metavar="PATH",
    help="CSV, Parquet or records: a file, or a directory of them.",
)
_reading_options = (
    click.option(
        "--time-column",
        metavar="NAME",
        help="Column of times.  [default: `timestamp`, else the usual names]",
    ),
    click.option(
        "--stream-column",
        metavar="NAME",
        help="Column that names the stream.  [default: `stream`, else the usual names]",
    ),
    click.option(
        "--times-in",
        type=ZoneType(),
        metavar="ZONE",
        help="Zone of times that name no offset, as Europe/Berlin.  [default: UTC]",
    ),
    click.option(
        "--time-format",
        default="",
        callback=_check_form,
        metavar="FORMAT",
        help="How times are written, as %d.%m.%Y %H:%M.  [default: numbers, ISO 8601]",
    ),
    click.option(
        "--format",
        "record_format",
        metavar="NAME",
        default="auto",
        help="Format of files of records (.ndjson, .json).  [default: auto]",
    ),
)


def _print_note(note: str) -> None:
    click.echo(f"note: {note}", err=True)


def data_options(command: _Command) -> _Command:
    """``--data``, and how it is read: the parameters ``data`` and ``reading``."""

    @functools.wraps(command)
    def with_reading(
        *args: Any,
        time_column: str | None,
        stream_column: str | None,
        times_in: tzinfo | None,
        time_format: str,
        record_format: str,
        **kwargs: Any,
    ) -> Any:
        reading = ReadOptions(
            time_column=time_column,
            stream_column=stream_column,
            zone=times_in or UTC,
            time_format=time_format,
            record_format=record_format,
            report=_print_note,
        )
        return command(*args, reading=reading, **kwargs)

    wrapped: Any = with_reading
    for option in reversed((_data_option, *_reading_options)):
        wrapped = option(wrapped)
    return cast(_Command, wrapped)


labels_option = click.option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="CSV of stream,start,end, where host-1/cpu is the metric cpu of host-1."
    "  [default: the 0/1 column `label` of the data]",
)
