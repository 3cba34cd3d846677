"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from detector.model.bundle import BUILTIN, bundle_path

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


config_option = click.option(
    "--config",
    type=FILE,
    metavar="FILE",
    help="TOML file of settings; the environment overrides it.",
)
data_option = click.option(
    "--data",
    type=FILE,
    required=True,
    metavar="PATH",
    help="CSV or Parquet: a file, or a directory of them.",
)
labels_option = click.option(
    "--labels",
    type=FILE,
    metavar="FILE",
    help="CSV of stream,start,end, where host-1/cpu is the metric cpu of host-1."
    "  [default: the 0/1 column `label` of the data]",
)
