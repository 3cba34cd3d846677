"""collectd, as its plugin ``write_kafka`` writes it: JSON, or PUTVAL commands.

    [{"values": [0.12, 3.4], "dstypes": ["derive", "derive"], "dsnames": ["rx", "tx"],
      "time": 1700000000.123, "interval": 10.0, "host": "web-1", "plugin": "interface",
      "plugin_instance": "eth0", "type": "if_octets", "type_instance": ""}]
    PUTVAL web-1/interface-eth0/if_octets interval=10.000 1700000000.123:0.12:3.4

The stream is collectd's own identifier, ``web-1/interface-eth0/if_octets``, and a
metric is a data source of its type. A gauge is a gauge. What collectd counts comes as a
rate or as a total, by the option ``StoreRates``, and a value list says not which: so
its kind is unknown, and the detector tells it by its course. A value that is null or
``U`` is missing; collectd writes that for the first rate of each counter.

PUTVAL does not name data sources. :data:`_SOURCES` has those of the types with several;
a single one is ``value``, as in collectd's ``types.db``.

msgspec reads the JSON. No package on PyPI reads the text protocol; one that is there
reads the binary protocol of collectd's network plugin.

Source: collectd's manual pages collectd.conf(5), collectd-unixsock(5) and types.db(5).
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from detector.errors import BadRecord, MissingReason, RejectReason
from detector.events import Labels, MetricKind
from detector.ingest.format import UnknownFields
from detector.ingest.messages import Messages, as_bytes
from detector.ingest.row_builder import RowBuilder
from detector.ingest.rows import NamedValues, Rows

_UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_COMMAND: Final = b"PUTVAL"
# characters; by judgement: collectd's own are far shorter, and to split a longer one
# takes time with its square
_LONGEST_COMMAND: Final = 8192
_NOW: Final = "N"
_UNKNOWN: Final = "U"
_GAUGE: Final = "gauge"
_READ_WRITE: Final = ("read", "write")
_RX_TX: Final = ("rx", "tx")
# data sources of the types that have several, as of collectd 5.12's types.db
_SOURCES: Final[Mapping[str, Sequence[str]]] = {
    "compression": ("uncompressed", "compressed"),
    "disk_io_time": ("io_time", "weighted_io_time"),
    "disk_merged": _READ_WRITE,
    "disk_octets": _READ_WRITE,
    "disk_ops": _READ_WRITE,
    "disk_time": _READ_WRITE,
    "dns_octets": ("queries", "responses"),
    "if_dropped": _RX_TX,
    "if_errors": _RX_TX,
    "if_octets": _RX_TX,
    "if_packets": _RX_TX,
    "io_octets": _RX_TX,
    "io_packets": _RX_TX,
    "load": ("shortterm", "midterm", "longterm"),
    "memcached_octets": _RX_TX,
    "mysql_octets": _RX_TX,
    "node_octets": _RX_TX,
    "ps_count": ("processes", "threads"),
    "ps_cputime": ("user", "syst"),
    "ps_disk_octets": _READ_WRITE,
    "ps_disk_ops": _READ_WRITE,
    "ps_pagefaults": ("minflt", "majflt"),
    "serial_octets": _RX_TX,
}


class _ValueList(msgspec.Struct, gc=False):
    """Values that were collected together. collectd writes its metadata too."""

    values: list[float | None]
    dsnames: list[str]
    host: str
    plugin: str
    type: str
    dstypes: list[str] = []
    time: float | None = None
    plugin_instance: str = ""
    type_instance: str = ""

    def identifier(self) -> str:
        plugin = _with_instance(self.plugin, self.plugin_instance)
        type_ = _with_instance(self.type, self.type_instance)
        return f"{self.host}/{plugin}/{type_}"

    def labels(self) -> Labels:
        parts = {
            "host": self.host,
            "plugin": self.plugin,
            "plugin_instance": self.plugin_instance,
            "type": self.type,
            "type_instance": self.type_instance,
        }
        return {name: value for name, value in parts.items() if value}


_list = msgspec.json.Decoder(list[_ValueList]).decode
_single = msgspec.json.Decoder(_ValueList).decode


class Collectd:
    """Implements Format. One row for each value list."""

    def __init__(self, unknown: UnknownFields) -> None:
        pass  # nothing of a value list is left out

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        built = RowBuilder()
        for i, value in enumerate(messages.values):
            try:
                lists = _value_lists(as_bytes(value))
            except BadRecord as fault:
                built.reject(i, fault)
                continue
            for each in lists:
                _add(built, i, each)
            if not lists:
                built.skip(i)
        return built.rows()


def _add(built: RowBuilder, message: int, found: _ValueList) -> None:
    numbers: dict[str, float] = {}
    kinds: list[int] = []
    types = found.dstypes or [""] * len(found.values)
    for name, value, type_ in zip(found.dsnames, found.values, types, strict=True):
        if value is None or math.isnan(value):
            built.miss(message, name, MissingReason.NAN)
            continue
        if name not in numbers:
            is_gauge = type_ == _GAUGE
            kinds.append(MetricKind.GAUGE if is_gauge else MetricKind.UNKNOWN)
        numbers[name] = value
    if numbers:
        built.add(
            message,
            found.identifier(),
            found.time,
            numbers,
            labels=found.labels(),
            kinds=kinds,
        )


def _value_lists(value: bytes) -> list[_ValueList]:
    """Raises BadRecord."""
    if value.lstrip().startswith(_COMMAND):
        return _commands(value)
    try:
        decoded = _list(value) if value.lstrip()[:1] == b"[" else [_single(value)]
    except _UNDECODABLE as error:
        detail = f"it is not a value list of collectd ({error})"
        raise BadRecord(RejectReason.MALFORMED, detail) from None
    for each in decoded:
        count = len(each.values)
        if len(each.dsnames) != count or len(each.dstypes) not in (0, count):
            detail = f"it has {count} values and another number of names or types"
            raise BadRecord(RejectReason.MALFORMED, detail)
    return decoded


def _commands(value: bytes) -> list[_ValueList]:
    """The value lists of lines with a PUTVAL each. Raises BadRecord."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise BadRecord(RejectReason.ENCODING, "it is not UTF-8") from None
    found: list[_ValueList] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if len(line) > _LONGEST_COMMAND:
            detail = f"line {number} is longer than {_LONGEST_COMMAND} characters"
            raise BadRecord(RejectReason.MALFORMED, detail)
        try:
            found.extend(_command(line))
        except ValueError as error:
            detail = f"line {number} is not a PUTVAL command: {error}"
            raise BadRecord(RejectReason.MALFORMED, detail) from None
    return found


def _command(line: str) -> list[_ValueList]:
    """The value lists of a command, one for each time. Raises ValueError."""
    words = shlex.split(line)
    if len(words) < 3 or words[0] != _COMMAND.decode():
        raise ValueError("it is not `PUTVAL identifier values`")
    host, plugin, type_ = _identifier(words[1])
    values = [word for word in words[2:] if "=" not in word]  # without the options
    if not values:
        raise ValueError("it has no values")
    return [_values(host, plugin, type_, word) for word in values]


def _identifier(word: str) -> tuple[str, tuple[str, str], tuple[str, str]]:
    """Host, plugin and type, the latter two with their instances."""
    parts = word.split("/")
    if len(parts) != 3 or not all(parts):
        raise ValueError(f"{word!r} is not host/plugin-instance/type-instance")
    host, plugin, type_ = parts
    return host, _split_instance(plugin), _split_instance(type_)


def _values(
    host: str, plugin: tuple[str, str], type_: tuple[str, str], word: str
) -> _ValueList:
    """``time:value:value``"""
    time, *texts = word.split(":")
    if not texts:
        raise ValueError(f"{word!r} is not time:value")
    values = [None if text == _UNKNOWN else float(text) for text in texts]
    return _ValueList(
        values=values,
        dsnames=_names(type_[0], len(values)),
        host=host,
        plugin=plugin[0],
        plugin_instance=plugin[1],
        type=type_[0],
        type_instance=type_[1],
        time=None if time == _NOW else float(time),
    )


def _names(type_: str, count: int) -> list[str]:
    if count == 1:
        return ["value"]
    known = _SOURCES.get(type_, ())
    if len(known) == count:
        return list(known)
    return [f"value{index}" for index in range(count)]


def _split_instance(word: str) -> tuple[str, str]:
    name, _, instance = word.partition("-")
    return name, instance


def _with_instance(name: str, instance: str) -> str:
    return f"{name}-{instance}" if instance else name
