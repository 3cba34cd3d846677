"""Histograms and summaries of Prometheus, put together from the series of a request.

A classic histogram is a series for each bucket, ``NAME_bucket{le="0.5"}``, beside
``NAME_sum`` and ``NAME_count``. Where the buckets of one time are all in a request, up
to ``+Inf``, quantiles take their place; where sum and count are, the mean takes that of
the sum. What is not together in one request stays what it is: counters.

Source: Prometheus' documentation of metric types, and of ``histogram_quantile``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from detector.distributions import (
    QUANTILES,
    Bucket,
    Totals,
    explicit_buckets,
    mean_totals,
    native_buckets,
    percentile,
    quantile_totals,
)
from detector.events import MetricKind
from detector.ingest.formats.grouped_rows import GroupedRows, Stream

_BUCKET: Final = "_bucket"
_SUM: Final = "_sum"
_COUNT: Final = "_count"
_BOUND: Final = "le"
_MILLISECONDS: Final = 1_000  # of a second
_CUSTOM: Final = -53  # the schema of native histograms with bounds of their own


@dataclass(frozen=True, slots=True)
class Part:
    """What a series is of a histogram.

    Attributes:
        family: the name of the histogram.
        role: of the series, the end of its name.
        bound: of a bucket, the upper one.
    """

    family: str
    role: str
    bound: float = 0.0


def part_of(metric: str, labels: Mapping[str, str]) -> Part | None:
    """What a series may be of a histogram or a summary; None: it is of none."""
    if metric.endswith(_BUCKET):
        bound = _number(labels.get(_BOUND))
        if bound is None:
            return None
        return Part(metric.removesuffix(_BUCKET), _BUCKET, bound)
    for role in (_SUM, _COUNT):
        if metric.endswith(role):
            return Part(metric.removesuffix(role), role)
    return None


def without_bound(part: Part | None, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels that all series of a histogram share."""
    is_bucket = part is not None and part.role == _BUCKET
    return {k: v for k, v in labels.items() if not (is_bucket and k == _BOUND)}


@dataclass(frozen=True, slots=True)
class Sample:
    """A value of a series, as it is added if it is part of no whole histogram."""

    stream: Stream
    metric: str
    kind: MetricKind
    time: int
    value: float
    start: int

    def add_to(self, rows: GroupedRows) -> None:
        rows.points.add(self.stream, self.time, self.value, self.start)
        rows.name(self.metric, self.kind)


@dataclass(slots=True)
class _Found:
    """The samples of one histogram at one time."""

    by_part: dict[Part, Sample] = field(default_factory=dict)
    again: list[Sample] = field(default_factory=list)

    def can_be_one(self) -> bool:
        """Whether all samples are totals, and none is there twice."""
        return not self.again and all(map(_counts, self.by_part.values()))

    def of(self, role: str) -> dict[float, Sample]:
        """The samples of this role, by their bounds."""
        return {k.bound: v for k, v in self.by_part.items() if k.role == role}


class Histograms:
    """Those of one request."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Stream, int], _Found] = {}

    def add(self, part: Part, stream: Stream, sample: Sample) -> None:
        """A sample; ``stream`` is that of the histogram."""
        key = part.family, stream, sample.time
        found = self._found.setdefault(key, _Found())
        if part in found.by_part:
            found.again.append(sample)
        else:
            found.by_part[part] = sample

    def add_to(self, rows: GroupedRows) -> None:
        """Add the points of all histograms."""
        for (family, stream, time), found in self._found.items():
            left = dict(found.by_part)
            metrics = _metrics(family, found) if found.can_be_one() else ()
            for name, role, totals in metrics:
                add_totals(rows, stream, time, name, totals)
                left = {k: v for k, v in left.items() if k.role != role}
            for sample in (*left.values(), *found.again):
                sample.add_to(rows)


def add_totals(
    rows: GroupedRows, stream: Stream, time: int, metric: str, totals: Totals
) -> None:
    """Add a mean or a quantile, if there is an observation."""
    value = totals.metric()
    if not math.isnan(value):
        rows.points.totals[len(rows.points)] = totals
        rows.points.add(stream, time, value)
        rows.name(metric, MetricKind.GAUGE)


def native_metrics(family: str, found: Any, start: int) -> list[tuple[str, Totals]]:
    """The mean and the quantiles of a native histogram."""
    began = start / _MILLISECONDS
    count = found.count_int or found.count_float
    metrics = [(f"{family}_mean", mean_totals(found.sum, count, began))]
    if found.schema == _CUSTOM:
        return metrics
    buckets = native_buckets(
        found.schema,
        found.zero_count_int or found.zero_count_float,
        _counted(found.positive_spans, found.positive_deltas, found.positive_counts),
        _counted(found.negative_spans, found.negative_deltas, found.negative_counts),
    )
    return [*metrics, *_quantiles(family, buckets, began)]


def _metrics(family: str, found: _Found) -> Iterator[tuple[str, str, Totals]]:
    """Names of metrics, the role of the series whose place they take, and totals."""
    sums = list(found.of(_SUM).values())
    counts = list(found.of(_COUNT).values())
    if sums and counts:
        began = sums[0].start / _MILLISECONDS
        totals = mean_totals(sums[0].value, counts[0].value, began)
        yield f"{family}_mean", _SUM, totals
    by_bound = found.of(_BUCKET)
    if len(by_bound) < 2 or math.inf not in by_bound:
        return
    began = by_bound[math.inf].start / _MILLISECONDS
    buckets = _buckets(by_bound)
    for name, totals in _quantiles(family, buckets, began):
        yield name, _BUCKET, totals


def _quantiles(
    family: str, buckets: Sequence[Bucket], began: float
) -> Iterator[tuple[str, Totals]]:
    for share in QUANTILES:
        totals = quantile_totals(buckets, share, began)
        if totals is not None:
            yield f"{family}_{percentile(share)}", totals


def _buckets(by_bound: Mapping[float, Sample]) -> list[Bucket]:
    """Buckets with their own counts; series of one scrape may be a little apart."""
    bounds = sorted(by_bound)
    counts = []
    below = 0.0
    for bound in bounds:
        total = max(by_bound[bound].value, below)
        counts.append(total - below)
        below = total
    return explicit_buckets(bounds[:-1], counts)


def _counted(
    spans: Any, deltas: Sequence[int], counts: Sequence[float]
) -> list[tuple[int, list[float]]]:
    """The index of the first bucket of each span, and the counts of its buckets."""
    totals = list(counts)
    if not totals:
        total = 0
        for delta in deltas:
            total += delta
            totals.append(float(total))
    found = []
    index = used = 0
    for span in spans:
        index += span.offset
        of_span = totals[used : used + span.length]
        found.append((index, of_span))
        index += span.length
        used += span.length
    return found


def _counts(sample: Sample) -> bool:
    """Whether it can be a total."""
    return sample.kind is not MetricKind.GAUGE and math.isfinite(sample.value)


def _number(text: str | None) -> float | None:
    try:
        bound = float(text or "")
    except ValueError:
        return None
    return None if math.isnan(bound) else bound
