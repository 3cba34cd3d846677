"""Decoding alone, by format and keying.

A point is one value of one metric: what is scored if each metric is a stream. A record
of n numbers is n points, whichever format it has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import msgspec
import numpy as np
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from detector.events import RawBatch, RecordBatch
from detector.ingest.decoder import feature_decoder, metric_decoder
from detector.ingest.formats.registry import FORMATS
from tests.benchmarks.bundles import P
from tests.benchmarks.rounds import Row, Run, medians, rate
from tests.fakes import raw_batch

NUMBERS = 2048 * 8  # of a batch, about: as a poll brings them
WIDTHS = (1, 8, 40, 200, 1000)  # numbers of a record
BATCHES = 20  # of one run
STREAMS = 8  # of an export's metric: as many cores, disks or states
HOSTS = 20  # that records come from in turn
BATCH = 10  # metrics of a batch of Telegraf

Decode = Callable[[RawBatch], RecordBatch]


def decode(rounds: int) -> list[Row]:
    """Microseconds a record and nanoseconds a number, of each format in either keying;
    a parse of the same JSON into a dict, and nothing else, for comparison.
    """
    rows: list[Row] = []
    for width in WIDTHS:
        runs = _runs(width)
        rates = medians(rounds, *runs.values())
        for name, found in zip(runs, rates, strict=True):
            rows.append(
                {
                    "numbers a record": str(width),
                    "decoder": name,
                    "µs a record": 1e6 / found,
                    "ns a number": 1e9 / found / width,
                }
            )
    return rows


def _runs(width: int) -> Mapping[str, Run]:
    names = [f"f{j}" for j in range(width)]
    count = max(8, min(2048, NUMBERS // width))
    values = np.random.default_rng(0).normal(size=(count, width)).round(4)
    json_records = raw_batch(
        [_json(names, row) for row in values.tolist()], b"host", 0, P
    )
    lines = raw_batch([_line(names, row) for row in values.tolist()], b"host", 0, P)
    numbers = list(enumerate(values.tolist()))
    of_json = FORMATS["json"]
    of_influx = FORMATS["influx"]
    exports = raw_batch([_export(i, row) for i, row in numbers], b"host", 0, P)
    metrics = [_metric(i, names, row) for i, row in numbers]
    singles = raw_batch([json.dumps(each).encode() for each in metrics], b"host", 0, P)
    batches = raw_batch(_batches(metrics), b"host", 0, P)
    of_auto = FORMATS["auto"]
    return {
        "parse only": lambda: rate(count * BATCHES, lambda: _parse(json_records)),
        "json, features": _run(feature_decoder(of_json, names).decode, json_records),
        "json, each metric": _run(metric_decoder(of_json).decode, json_records),
        "influx, features": _run(feature_decoder(of_influx, names).decode, lines),
        "influx, each metric": _run(metric_decoder(of_influx).decode, lines),
        "telegraf, each metric": _run(metric_decoder(of_auto).decode, singles),
        "telegraf in batches": _run(metric_decoder(of_auto).decode, batches, count),
        "otlp, each metric": _run(metric_decoder(FORMATS["otlp"]).decode, exports),
        "otlp, by auto": _run(metric_decoder(of_auto).decode, exports),
    }


def _run(decode_batch: Decode, raw: RawBatch, records: int = 0) -> Run:
    """``records``: as many as those of other formats; 0: each is one."""

    def batches() -> None:
        for _ in range(BATCHES):
            decode_batch(raw)

    return lambda: rate((records or len(raw)) * BATCHES, batches)


def _parse(raw: RawBatch) -> None:
    for _ in range(BATCHES):
        for value in raw.values:
            msgspec.json.decode(value or b"")


def _json(names: list[str], values: list[float]) -> bytes:
    fields = dict(zip(names, values, strict=True))
    return json.dumps({"timestamp": 1_700_000_000, **fields}).encode()


def _line(names: list[str], values: list[float]) -> bytes:
    fields = ",".join(f"{k}={v}" for k, v in zip(names, values, strict=True))
    return f"metrics,host=web-1 {fields} 1700000000000000000".encode()


def _metric(number: int, names: list[str], values: list[float]) -> dict[str, object]:
    """What Telegraf says of one of the hosts."""
    return {
        "fields": dict(zip(names, values, strict=True)),
        "name": "metrics",
        "tags": {"host": _host(number), "cpu": "cpu0"},
        "timestamp": 1_700_000_000 + number,
    }


def _batches(metrics: list[dict[str, object]]) -> list[bytes]:
    parts = [metrics[i : i + BATCH] for i in range(0, len(metrics), BATCH)]
    return [json.dumps({"metrics": part}).encode() for part in parts]


def _host(number: int) -> str:
    return f"web-{number % HOSTS:02}"


def _export(number: int, values: list[float]) -> bytes:
    """Gauges of 8 streams each, as many as the values fill, of one of the hosts."""
    request = ExportMetricsServiceRequest()
    of_host = request.resource_metrics.add()
    host = of_host.resource.attributes.add(key="host.name")
    host.value.string_value = _host(number)
    metrics = of_host.scope_metrics.add().metrics
    for j, value in enumerate(values):
        if j % STREAMS == 0:
            metric = metrics.add(name=f"system.metric{j // STREAMS}", unit="1")
        point = metric.gauge.data_points.add(
            time_unix_nano=(1_700_000_000 + number) * 10**9, as_double=value
        )
        point.attributes.add(key="cpu").value.string_value = f"cpu{j % STREAMS}"
        point.attributes.add(key="state").value.string_value = "idle"
    encoded: bytes = request.SerializeToString()
    return encoded
