"""Records as producers document them, and the points that must come of each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from detector.errors import MissingReason

T: Final = 1_600_000_000  # epoch seconds
MS: Final = T * 1000
ISO: Final = "2020-09-13T12:26:40Z"

Points = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """A record.

    Attributes:
        value: text, or what is written as JSON.
        points: by the name of their stream and metric. All have the time ``at``.
        missing: metrics whose values can't be used, and why.
        mapping: what a person sets; empty: nothing.
    """

    name: str
    value: Any
    points: Points
    at: float = T
    key: str | None = None
    missing: Mapping[str, MissingReason] = field(default_factory=dict)
    mapping: Mapping[str, Any] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        if isinstance(self.value, str):
            return self.value.encode()
        return json.dumps(self.value).encode()


def telegraf(**more: object) -> dict[str, object]:
    tags = {"cpu": "cpu3", "host": "db-7"}
    return {"name": "cpu", "tags": tags, "fields": {"busy": 2.5}, "timestamp": T} | more


def sample(value: str) -> dict[str, object]:
    labels = {"__name__": "up", "instance": "db-7:9100", "job": "node", "zone": "a"}
    return {"labels": labels, "name": "up", "timestamp": ISO, "value": value}


def beat(module: Mapping[str, object], data_set: str) -> dict[str, object]:
    return {
        "@timestamp": "2020-09-13T12:26:40.250Z",
        "agent": {"name": "beat-1", "version": "8.11.0"},
        "ecs": {"version": "8.0.0"},
        "event": {"dataset": data_set, "module": "system", "duration": 115_000},
        "host": {"name": "db-7", "cpu": {"usage": 0.04}},
        "metricset": {"name": data_set.partition(".")[2], "period": 10_000},
        "service": {"type": "system"},
        **module,
    }


def vector(**more: object) -> dict[str, object]:
    tags = {"host": "db-7", "code": "200"}
    return {"name": "requests", "tags": tags, "timestamp": ISO} | more


def zabbix(**more: object) -> dict[str, object]:
    host = {"host": "db-7", "name": "Database 7"}
    known = {
        "host": host,
        "groups": ["Linux"],
        "itemid": 23,
        "name": "Load",
        "clock": T,
    }
    return known | more


def cloudwatch(**value: float) -> dict[str, object]:
    return {
        "metric_stream_name": "all",
        "account_id": "1234",
        "region": "eu-west-1",
        "namespace": "AWS/EBS",
        "metric_name": "VolumeIdleTime",
        "dimensions": {"VolumeId": "vol-1"},
        "timestamp": MS,
        "value": value,
        "unit": "Seconds",
    }


def azure(metric: str, average: float) -> dict[str, object]:
    return {
        "count": 4,
        "total": 4 * average,
        "minimum": 0,
        "maximum": 99,
        "average": average,
        "resourceId": "/SUBSCRIPTIONS/1/VM7",
        "time": "2020-09-13T12:26:40.0000000Z",
        "metricName": metric,
        "timeGrain": "PT1M",
    }


def change(op: str, after: object, **more: object) -> dict[str, object]:
    source = {"table": "readings", "ts_ms": MS}
    return {"before": None, "after": after, "op": op, "source": source} | more


_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
_SCHEMA: Final = {
    "type": "struct",
    "fields": [
        {
            "field": "after",
            "type": "struct",
            "fields": [
                {"field": "id", "type": "int32"},
                {
                    "field": "price",
                    "type": "bytes",
                    "name": _DECIMAL,
                    "parameters": {"scale": "2"},
                },
                {"field": "day", "type": "int32", "name": "io.debezium.time.Date"},
            ],
        }
    ],
}
_EBS: Final = "AWS/EBS{VolumeId=vol-1,account_id=1234,region=eu-west-1}/VolumeIdleTime"

CASES: Final[Sequence[Case]] = (
    Case("telegraf", telegraf(), {"db-7/cpu{cpu=cpu3}/busy": 2.5}),
    Case(
        "telegraf in nanoseconds, with what is no number",
        telegraf(
            timestamp=T * 10**9 + 250_000_000,
            fields={"n": 1, "s": "up", "on": True, "bad": "NaN"},
        ),
        {"db-7/cpu{cpu=cpu3}/n": 1},
        at=T + 0.25,
        missing={"bad": MissingReason.NAN},
    ),
    Case(
        "a batch of telegraf",
        {"metrics": [telegraf(), telegraf(tags={"host": "db-8"})]},
        {"db-7/cpu{cpu=cpu3}/busy": 2.5, "db-8/cpu/busy": 2.5},
    ),
    Case("telegraf with texts alone", telegraf(fields={"uptime": "1 day"}), {}),
    Case(
        "telegraf as a cloud event",
        {"specversion": "1.0", "id": "1", "source": "telegraf", "data": telegraf()},
        {"db-7/cpu{cpu=cpu3}/busy": 2.5},
    ),
    Case(
        "a client of influx",
        [{"measurement": "m", "tags": {"host": "a"}, "time": ISO, "fields": {"v": 1}}],
        {"a/m/v": 1},
    ),
    Case(
        "influx lines",
        f"m,host=a,k=b v=1.5,n=2i {T}\n",
        {"a/m{k=b}/v": 1.5, "a/m{k=b}/n": 2},
    ),
    Case("a sample", sample("0.5"), {"db-7:9100{job=node,zone=a}/up": 0.5}),
    Case("a stale sample", sample("NaN"), {}, missing={"up": MissingReason.NAN}),
    Case(
        "an infinite sample", sample("+Inf"), {}, missing={"up": MissingReason.INFINITE}
    ),
    Case(
        "metricbeat, an interface",
        beat(
            {"system": {"network": {"name": "eth0", "in": {"bytes": 5}}}},
            "system.network",
        ),
        {"db-7/system.network{name=eth0}/system.network.in.bytes": 5},
        at=T + 0.25,
    ),
    Case(
        "metricbeat, a core whose id is a number",
        beat({"system": {"core": {"id": 0, "idle": {"pct": 0.9}}}}, "system.core"),
        {"db-7/system.core{id=0}/system.core.idle.pct": 0.9},
        at=T + 0.25,
    ),
    Case(
        "metricbeat 6",
        {
            "@timestamp": ISO,
            "beat": {"name": "db-7", "hostname": "db-7"},
            "metricset": {"name": "load", "module": "system", "rtt": 115},
            "system": {"load": {"1": 0.5}},
        },
        {"db-7/system.load/system.load.1": 0.5},
    ),
    Case(
        "vector, a gauge",
        vector(kind="absolute", namespace="app", gauge={"value": 1.5}),
        {"db-7{code=200}/app.requests": 1.5},
    ),
    Case(
        "vector, a counter",
        vector(kind="incremental", counter={"value": 3}),
        {"db-7{code=200}/requests": 3},
    ),
    Case(
        "vector, a histogram",
        vector(
            kind="absolute",
            aggregated_histogram={"buckets": [], "count": 4, "sum": 2.5},
        ),
        {"db-7{code=200}/requests.count": 4, "db-7{code=200}/requests.sum": 2.5},
    ),
    Case("vector, a set", vector(kind="incremental", set={"values": ["a"]}), {}),
    Case(
        "netdata",
        {
            "prefix": "netdata",
            "hostname": "db-7",
            "labels": {"env": "prod"},
            "chart_id": "disk.sda",
            "chart_context": "disk.io",
            "units": "KiB/s",
            "id": "reads",
            "name": "reads",
            "value": -1.5,
            "timestamp": T,
        },
        {"db-7/disk.sda/reads": -1.5},
    ),
    Case(
        "zabbix",
        zabbix(ns=250_000_000, value=3.5, type=0),
        {"db-7/Load": 3.5},
        at=T + 0.25,
    ),
    Case("zabbix, a trend", zabbix(count=60, min=1, avg=2, max=3), {"db-7/Load": 2}),
    Case(
        "zabbix, text",
        zabbix(value="ok", type=4),
        {},
        missing={"Load": MissingReason.TEXT},
    ),
    Case(
        "zabbix, a problem",
        {"clock": T, "ns": 1, "value": 1, "eventid": 4, "name": "down", "hosts": []},
        {},
    ),
    Case(
        "zabbix, a recovery",
        {"clock": T, "ns": 1, "value": 0, "eventid": 5},
        {},
        key="k",
    ),
    Case(
        "cloudwatch",
        json.dumps(cloudwatch(count=4, sum=10, min=1, max=4, p99=3.9)) + "\n",
        {_EBS: 2.5},
    ),
    Case(
        "cloudwatch, other statistics",
        cloudwatch(count=4, sum=10, min=1, max=4, p99=3.9),
        {f"{_EBS}.maximum": 4, f"{_EBS}.p99": 3.9},
        mapping={"statistics": ["maximum", "p99"]},
    ),
    Case(
        "azure",
        {"records": [azure("CPU", 2.5), azure("Disk", 7)]},
        {"/SUBSCRIPTIONS/1/VM7/CPU": 2.5, "/SUBSCRIPTIONS/1/VM7/Disk": 7},
    ),
    Case(
        "gnmic",
        [
            {
                "name": "ports",
                "timestamp": T * 10**9,
                "tags": {"source": "10.0.0.1:57400", "interface": "e1"},
                "values": {"in-octets": "123", "state": "UP"},
            }
        ],
        {"10.0.0.1:57400/ports{interface=e1}/in-octets": 123},
    ),
    Case(
        "gnmic, a delete",
        [{"name": "p", "timestamp": T * 10**9, "tags": {}, "deletes": ["/a"]}],
        {},
    ),
    Case(
        "kepware",
        {
            "timestamp": MS + 999,
            "values": [
                {"id": "Line1.Press.Force", "v": 42.5, "q": True, "t": MS},
                {"id": "Line1.Press.Open", "v": True, "q": True, "t": MS},
                {"id": "Line1.Press.Heat", "v": 7, "q": False, "t": MS},
            ],
        },
        {"plant/Line1.Press.Force": 42.5, "plant/Line1.Press.Open": 1},
        key="plant",
        missing={"Line1.Press.Heat": MissingReason.QUALITY},
    ),
    Case(
        "kepware without a key, OPC's quality",
        {"values": [{"id": "A.B.C", "v": "4.5", "q": 192, "t": MS}]},
        {"metrics/A.B.C": 4.5},
    ),
    Case(
        "debezium with its schema",
        {
            "schema": _SCHEMA,
            "payload": change("u", {"id": 5, "price": "MDk=", "day": 18_518}),
        },
        {"readings{id=5}/price": 123.45},
        key='{"schema": {}, "payload": {"id": 5}}',
    ),
    Case(
        "debezium without a schema, mapped",
        change("r", {"site": "s", "v": {"scale": 1, "value": "AJY="}, "seen": MS}),
        {"s/v": 15},
        mapping={"stream": "site", "timestamp": "seen"},
    ),
    Case("debezium, a delete", change("d", None), {}, key='{"id": 5}'),
    Case(
        "kafka connect",
        {"schema": {"type": "struct"}, "payload": {"cpu": 0.5, "ts": MS}},
        {"k/cpu": 0.5},
        key="k",
    ),
    Case(
        "thingsboard",
        [{"ts": MS, "values": {"a": 1, "b": "2.5", "on": True}}],
        {"dev/a": 1, "dev/b": 2.5},
        key="dev",
    ),
    Case(
        "fluent bit",
        {"date": T + 0.25, "cpu_p": 3.1, "cpu0.p_cpu": 4},
        {"k/cpu_p": 3.1, "k/cpu0.p_cpu": 4},
        at=T + 0.25,
        key="k",
    ),
    Case(
        "opentsdb",
        {
            "metric": "sys.cpu",
            "timestamp": T,
            "value": 18,
            "tags": {"host": "a", "dc": "l"},
        },
        {"a{dc=l}/sys.cpu": 18},
    ),
    Case(
        "one metric a record, with texts that tell streams apart",
        {"ts": MS, "host": "a", "metric": "disk", "mount": "/var", "value": "3.5"},
        {"a{mount=/var}/disk": 3.5},
    ),
    Case(
        "own record without a key",
        {"@timestamp": T, "host": "a", "core": "c1", "load": 3.1},
        {"a{core=c1}/load": 3.1},
    ),
    Case(
        "moments beside the time, as numbers and as texts",
        {
            "ts": MS,
            "host": "a",
            "check": {"execution_start": T - 1.5, "duration": 1.5},
            "last_changed": "2020-09-13T12:26:40.123456+00:00",
            "lastSeen": MS - 900,
            "offset_end": 17,
        },
        {"a/check.duration": 1.5, "a/offset_end": 17},
    ),
    Case(
        "a flat record with another moment",
        {"ts": MS, "last_seen": T - 5, "load": 3.1},
        {"k/load": 3.1},
        key="k",
    ),
    Case(
        "one metric a record, beside a text that is a time",
        {"entity": "s", "metric": "t", "value": "21.5", "last_changed": ISO, "ts": T},
        {"s/t": 21.5},
    ),
    Case(
        "own record, a number as id", {"ts": MS, "device_id": 17, "t": 20}, {"17/t": 20}
    ),
    Case(
        "a set of statistics in an own record",
        {"ts": T, "lat": {"min": 1, "max": 3, "avg": 2, "count": 5}, "n": 3},
        {"k/lat": 2, "k/n": 3},
        key="k",
    ),
    Case(
        "a mapping of everything",
        {
            "meta": {"site": "s", "dev": "d"},
            "data": {"t1": 1, "t2": 2, "rssi": -50},
            "when": {"s": T, "n": 250_000_000},
        },
        {"s/d/data.t1": 1, "s/d/data.t2": 2},
        at=T + 0.25,
        mapping={
            "stream": "{meta.site}/{meta.dev}",
            "timestamp": "when.s",
            "nanoseconds": "when.n",
            "metrics": "data.*",
            "exclude": "*.rssi",
            "labels": "meta",
        },
    ),
    Case(
        "a mapping of an array of pairs",
        {
            "dev": "d",
            "all": [{"at": T, "s": "a", "x": 1}, {"at": T, "s": "b", "x": "2,5"}],
        },
        {"d/a": 1, "d/b": 2.5},
        mapping={
            "records": "all",
            "stream": "dev",
            "timestamp": "at",
            "name": "s",
            "value": "x",
            "decimal_comma": True,
        },
    ),
    Case(
        "booleans and a header in the name, where asked",
        {"ts": T, "on": True, "v": 1},
        {"k@eu/on": 1, "k@eu/v": 1},
        key="k",
        mapping={"stream": "{key}@{header.region}", "booleans": True},
    ),
)
