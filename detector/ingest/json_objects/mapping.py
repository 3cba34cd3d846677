"""A mapping: which fields of a record are its time, stream, metrics and labels.

A mapping is data. The formats of most producers of JSON are one each, in
``formats/presets``, and a topic's settings may replace any part of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, Literal

from detector.events import MetricKind

TimeUnit = Literal["auto", "s", "ms", "us", "ns"]
UNITS_A_SECOND: Final[Mapping[TimeUnit, float]] = {
    "s": 1.0,
    "ms": 1e3,
    "us": 1e6,
    "ns": 1e9,
}
AVERAGE: Final = "average"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordMapping:
    """Which fields are what. A path is a dotted name; nested objects have such names.

    Attributes:
        records: the array whose elements are records of their own. Other fields of the
            record are theirs too. A record without it is one itself.
        timestamp: paths of the time, the first that is there counts; empty: the field
            that is plainly a clock. Without any, the record's own time counts.
        unit: of a time that is a number; ``auto``: its magnitude tells it.
        time_format: how a time is written, in the notation of ``strptime``; empty: it
            is a number or ISO 8601.
        nanoseconds: path of nanoseconds to add to a time in seconds.
        stream: templates of the stream's name, the first whose fields are all there
            counts; empty: the field ``stream``. Without any, the record's key counts.
        tags: paths of fields that tell streams apart, or of objects of such fields.
        labels: paths of fields, or of objects of fields, that alerts have as labels.
            All tags are labels too.
        inside: path of the object that holds the metrics; empty: the record itself.
        metrics: patterns of the dotted names that are metrics; empty: all numbers.
            ``*`` stands for any text.
        exclude: patterns of those that are not.
        name: templates of the metric's name, if a record holds one metric; empty: each
            field is a metric of its own name.
        value: paths of that metric's value, the first that is there counts.
        statistics: which statistics are metrics if a value is a set of them.
        quality: path of a flag; a value whose flag is not good is missing.
        good: flags that are good, as text; numbers from 192 on are good too (OPC).
        decimal_comma: numbers in text have a decimal comma.
        booleans: whether booleans are metrics, as 0 and 1.
        kinds: what the value at each of ``value`` counts; empty: unknown.
        deltas: the path and the text that say that a counter has come anew since the
            last report, and the path of the interval in milliseconds.
        tag_fields: patterns of dotted names that are tags and no metrics, beside
            ``tags``: they tell streams apart.
    """

    records: str = ""
    timestamp: Sequence[str] = ()
    unit: TimeUnit = "auto"
    time_format: str = ""
    nanoseconds: str = ""
    stream: Sequence[str] = ()
    tags: Sequence[str] = ()
    labels: Sequence[str] = ()
    inside: str = ""
    metrics: Sequence[str] = ()
    exclude: Sequence[str] = ()
    name: Sequence[str] = ()
    value: Sequence[str] = ()
    statistics: Sequence[str] = (AVERAGE,)
    quality: str = ""
    good: Sequence[str] = ("true", "good", "ok")
    decimal_comma: bool = False
    booleans: bool = False
    kinds: Sequence[MetricKind] = ()
    deltas: Sequence[str] = ()
    tag_fields: Sequence[str] = ()

    def with_settings(self, given: Mapping[str, Any]) -> RecordMapping:
        """This mapping with the parts that a topic's settings replace.

        Whoever says what the metrics are, says all of it: a part of the mapping that
        says it another way goes.
        """
        changes = dict(given)
        if "name" in given or "value" in given:
            changes = {"inside": "", "kinds": (), "deltas": (), **changes}
        elif "metrics" in given or "inside" in given:
            changes = {"name": (), "value": (), **changes}
        return replace(self, **changes)


#: Parts that the settings of a topic may name.
PARTS: Final = frozenset(part.name for part in fields(RecordMapping)) - {
    "kinds",
    "deltas",
    "tag_fields",
}
GENERIC: Final = RecordMapping()
