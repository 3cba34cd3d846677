"""How files become what a bundle takes: its features, or each metric as a stream."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from detector.data.csv_and_parquet import Table, read_tables
from detector.data.per_metric import read_metrics


def read_data(data: Path, features: Sequence[str], each_metric: bool) -> list[Table]:
    """DATA as one table for each file.

    With ``each_metric`` each metric is a stream with the one feature ``value``; else
    the tables hold these features. Raises DataError.
    """
    return read_metrics(data) if each_metric else read_tables(data, features)
