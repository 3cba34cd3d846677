"""What the name of a metric says of its kind.

``_total`` ends the name of every counter of Prometheus and OpenMetrics (openmetrics.io,
"Counter"), and of no other metric there. Elsewhere it also ends the name of a capacity,
such as ``mem_total``, which is a gauge. Other endings only hint at a counter: then a
shorter past is enough to recognise it (:mod:`detector.state.recognition`).
"""

from __future__ import annotations

import re

# A series may be called after its measurement, with its tags and the one field.
_FIELD = r"(?:\{[^/]*\})?(?:/(?:value|counter|count))?"

_CAPACITIES = (
    "capacity|cores?|cpus?|disk|filesystem|fs|heap|inodes?|limit|mem|memory|nodes?"
    "|pods?|ram|size|slots?|space|storage|swap"
)
_TOTAL = re.compile(rf"(?:.*[^/])?_total{_FIELD}|.*/counter", re.DOTALL)
_CAPACITY = re.compile(
    rf"(?:.*[/_.])?(?:{_CAPACITIES})_total{_FIELD}", re.DOTALL | re.IGNORECASE
)

_HINT = re.compile(
    r"(?:.*[/_.])?(?:"
    r"count|sum|bucket"
    r"|(?:bytes|octets|packets)_(?:in|out|read|received|recv|sent|transmitted|written)"
    r"|(?:in|out|read|rx|tx|write)_(?:bytes|count|drops|errors|octets|packets|time)"
    r"|reads|writes|io_time"
    r")",
    re.DOTALL | re.IGNORECASE,
)


def is_named_counter(stream: str) -> bool:
    """Whether ``<stream>/<metric>`` is a counter by its name."""
    is_total = _TOTAL.fullmatch(stream) is not None
    return is_total and _CAPACITY.fullmatch(stream) is None


def is_hinted_counter(stream: str) -> bool:
    """Whether the name is one that counters often have."""
    return _HINT.fullmatch(stream) is not None
