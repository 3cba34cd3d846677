"""What a topic's settings say of its metrics: which are counters, and which are gauges.

It wraps a format, so it costs nothing where no setting says anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np

from detector.events import U8, MetricKind
from detector.ingest.format import Format, FormatKind, UnknownFields
from detector.ingest.messages import Messages
from detector.ingest.rows import FeatureValues, NamedValues, Rows

# Names whose kind is remembered: a topic may invent one for each record.
_REMEMBERED = 10_000

_NumbersT = TypeVar("_NumbersT", FeatureValues, NamedValues)


@dataclass(frozen=True, slots=True)
class StatedKinds:
    """Patterns for the whole names of metrics.

    Attributes:
        counters: of those that are counters.
        gauges: of those that are gauges; they count more.
    """

    counters: tuple[str, ...] = ()
    gauges: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.counters or self.gauges)

    def kind_of(self, metric: str) -> MetricKind:
        """What is said of a metric; UNKNOWN if nothing is."""
        if any(re.fullmatch(pattern, metric) for pattern in self.gauges):
            return MetricKind.GAUGE
        if any(re.fullmatch(pattern, metric) for pattern in self.counters):
            return MetricKind.COUNTER
        return MetricKind.UNKNOWN


def with_kinds(kind: FormatKind, stated: StatedKinds) -> FormatKind:
    """A format whose metrics have these kinds, whatever it says itself."""
    if not stated:
        return kind

    def all_numbers(unknown: UnknownFields) -> Format[NamedValues]:
        return _Stating(kind.all_numbers(unknown), stated.kind_of, _named)

    of_features = kind.of_features
    if of_features is None:
        return FormatKind(all_numbers)

    def known_features(
        features: Sequence[str], unknown: UnknownFields
    ) -> Format[FeatureValues]:
        found = of_features(features, unknown)
        return _Stating(found, stated.kind_of, _of_features)

    return FormatKind(all_numbers, known_features)


_KindOf = Callable[[str], MetricKind]


class _Stating(Generic[_NumbersT]):
    """Implements Format, by another one."""

    def __init__(
        self,
        format_: Format[_NumbersT],
        kind_of: _KindOf,
        stated: Callable[[_NumbersT, _KindOf], U8],
    ) -> None:
        self._format: Format[_NumbersT] = format_
        self._kind_of = kind_of
        self._stated: Callable[[_NumbersT, _KindOf], U8] = stated
        self._remembered: dict[str, MetricKind] = {}

    def rows(self, messages: Messages) -> Rows[_NumbersT]:
        rows = self._format.rows(messages)
        numbers = rows.numbers
        stated = self._stated(numbers, self._recall)
        kinds = stated
        if numbers.kinds is not None:
            is_stated = stated != MetricKind.UNKNOWN
            kinds = np.where(is_stated, stated, numbers.kinds)
        return replace(rows, numbers=replace(numbers, kinds=kinds))

    def _recall(self, metric: str) -> MetricKind:
        kind = self._remembered.get(metric)
        if kind is None:
            kind = self._kind_of(metric)
            if len(self._remembered) < _REMEMBERED:
                self._remembered[metric] = kind
        return kind


def _named(numbers: NamedValues, kind_of: _KindOf) -> U8:
    """uint8 [m]."""
    kinds = [kind_of(name) for of_row in numbers.names for name in of_row]
    return np.array(kinds, np.uint8)


def _of_features(numbers: FeatureValues, kind_of: _KindOf) -> U8:
    """uint8 [n, F]."""
    of_each = np.array([kind_of(name) for name in numbers.features], np.uint8)
    kinds: U8 = np.broadcast_to(of_each, numbers.values.shape)
    return kinds
