"""Right records of each format, which the fuzzing begins with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from tests.unit.detector.ingest.formats.otlp_exports import (
    DELTA,
    NS,
    T,
    export,
    gauge,
    point,
    total,
)
from tests.unit.detector.ingest.formats.remote_writes import (
    STALE,
    double,
    metadata,
    series,
    series_2,
    symbols,
    whole,
)
from tests.unit.detector.ingest.producers import CASES

_NODE: Final = {"instance": "web-1:9100", "job": "node"}
_MS: Final = T * 1000
_FLAT: Final = {"timestamp": T, "stream": "s", "a": 1, "b": 2.5, "c": None}
_COLLECTD: Final = {
    "values": [0.12, None],
    "dstypes": ["derive", "gauge"],
    "dsnames": ["rx", "tx"],
    "time": T + 0.123,
    "interval": 10.0,
    "host": "web-1",
    "plugin": "interface",
    "plugin_instance": "eth0",
    "type": "if_octets",
    "type_instance": "",
}


def _exports() -> list[bytes]:
    histogram = Metric(name="h")
    histogram.histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
    histogram.histogram.data_points.add(
        time_unix_nano=T * NS,
        count=10,
        sum=16.0,
        bucket_counts=[0, 8, 2],
        explicit_bounds=[1.0, 2.0],
    )
    exponential = Metric(name="e")
    exponential.exponential_histogram.aggregation_temporality = DELTA  # type: ignore[assignment]
    data = exponential.exponential_histogram.data_points.add(
        time_unix_nano=T * NS, count=4, sum=12.0, scale=1
    )
    data.positive.bucket_counts.extend([1, 3])
    summary = Metric(name="s")
    of_summary = summary.summary.data_points.add(time_unix_nano=T * NS, count=4)
    of_summary.quantile_values.add(quantile=0.5, value=2.0)
    requests = [
        export(
            gauge("m", point(0.5), point(3, {"cpu": "1"})),
            total("t", point(7, start_time_unix_nano=(T - 9) * NS)),
            host_name="web-1",
        ),
        export(histogram, exponential, summary, service_name="api"),
    ]
    texts = [json.dumps(MessageToDict(request)).encode() for request in requests]
    return [*(request.SerializeToString() for request in requests), *texts]


def _remote_writes() -> list[bytes]:
    """Not compressed: that is done after the mutation, or every record is refused."""
    histogram = whole(1, 8) + double(3, 2.5) + whole(15, _MS)
    labels = {"__name__": "m_total", **_NODE}
    texts = symbols("", "__name__", "seen", "instance", "a")
    return [
        series(labels, (1.0, _MS), (STALE, _MS + 1)) + metadata("m_total", 1),
        series(labels, histogram=histogram),
        texts + series_2([1, 2, 3, 4], (7.0, _MS), type_=1, created=_MS - 1),
    ]


CORPUS: Final[Mapping[str, Sequence[bytes]]] = {
    "collectd": [
        json.dumps([_COLLECTD]).encode(),
        b"PUTVAL web-1/interface-eth0/if_octets interval=10.000 1700000000.123:1:U",
        b'PUTVAL "a b/load/load" N:1:2:3\n',
    ],
    "graphite": [
        b"servers.web-1.load.01 0.53 1700000000\nservers.web-1.load.05 nan -1",
        b"disk.used;host=web-1;device=sda 4e9 1700000000\n",
    ],
    "influx": [
        b"cpu,host=web-1,core=0 idle=90.5,n=9i,up=t 1700000000000000000\nmem free=1u",
        b'disk,host=a\\,b note="two\nlines",used=1 1700000000',
    ],
    "json": [
        json.dumps(_FLAT).encode(),
        json.dumps(
            {"ts": _MS, "values": {"a": "1.5"}, "tags": ["x", {"y": 2}]}
        ).encode(),
        json.dumps([_FLAT, _FLAT]).encode(),
        b"\n".join([json.dumps(_FLAT).encode()] * 2),
    ],
    "otlp": _exports(),
    "prometheus_remote_write": _remote_writes(),
}


def corpus_of(format_: str) -> Sequence[bytes]:
    """The records of a format; those of all producers, if it has none of its own."""
    own = CORPUS.get(format_)
    if own is not None:
        return own
    of_formats = [record for records in CORPUS.values() for record in records]
    return [*(case.data for case in CASES), *of_formats]
