"""Sets of statistics of one metric: a sum, a count, extremes, an average.

They are one metric, its average: the other numbers of a set say little that it does not
say, and each would be a stream. A topic's settings may choose others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from detector.errors import MissingReason
from detector.ingest.cells import Cell, cell
from detector.ingest.json_objects.mapping import AVERAGE

_ALIASES: Final[Mapping[str, Sequence[str]]] = {
    AVERAGE: ("average", "avg", "mean", "Average"),
    "sum": ("sum", "total", "Sum", "Total"),
    "count": ("count", "sampleCount", "SampleCount", "samplecount", "Count"),
    "minimum": ("minimum", "min", "Minimum", "Min"),
    "maximum": ("maximum", "max", "Maximum", "Max"),
}
_NAMES: Final = frozenset(name for names in _ALIASES.values() for name in names)
# statistics that an object has at least if it is a set of them, and not two metrics
_FEWEST: Final = 3
# what says most of a metric, if its average is not there
_FALLBACK: Final = ("sum", "maximum", "minimum", "count")


def is_set(value: Mapping[str, Any]) -> bool:
    """Whether the fields of an object are statistics of one metric alone."""
    return len(value) >= _FEWEST and _NAMES.issuperset(value) and _has_average(value)


def chosen(
    metric: str, value: Mapping[str, Any], statistics: Sequence[str]
) -> dict[str, Cell]:
    """The statistics of a set that are metrics, by name.

    The average has the metric's own name, and any other one is ``metric.statistic``.
    """
    found: dict[str, Cell] = {}
    for statistic in statistics:
        if statistic == AVERAGE:
            found[metric] = _average(value)
        else:
            found[f"{metric}.{statistic}"] = _statistic(value, statistic)
    return {name: number for name, number in found.items() if number is not None}


def _has_average(value: Mapping[str, Any]) -> bool:
    if _at(value, AVERAGE) is not None:
        return True
    return _at(value, "sum") is not None and _at(value, "count") is not None


def _average(value: Mapping[str, Any]) -> Cell:
    average = _statistic(value, AVERAGE)
    if average is not None:
        return average
    total = _statistic(value, "sum")
    count = _statistic(value, "count")
    if isinstance(total, float) and isinstance(count, float):
        return total / count if count else MissingReason.NAN
    for statistic in _FALLBACK:
        found = _statistic(value, statistic)
        if found is not None:
            return found
    return None


def _statistic(value: Mapping[str, Any], statistic: str) -> Cell:
    return cell(_at(value, statistic))


def _at(value: Mapping[str, Any], statistic: str) -> Any:
    for name in _ALIASES.get(statistic, (statistic,)):
        found = value.get(name)
        if found is not None:
            return found
    return None
