"""How files become what a bundle takes: its features, or each metric as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detector.data.per_metric import read_metrics
from detector.data.read_options import ReadOptions
from detector.data.table import Table
from detector.data.wide import file_notes, read_tables

_DEFAULT = ReadOptions()


def read_data(
    data: Path,
    features: Sequence[str],
    each_metric: bool,
    options: ReadOptions = _DEFAULT,
) -> list[Table]:
    """DATA as one table for each file.

    With ``each_metric`` each metric is a stream with the one feature ``value``; else
    the tables hold these features. What was guessed goes to ``options.report``. Raises
    DataError.
    """
    tables = (
        read_metrics(data, options)
        if each_metric
        else read_tables(data, features, options)
    )
    for note in file_notes(tables):
        options.report(note)
    return tables
