"""Rows of a database as Debezium and Kafka Connect wrap them.

    {"schema": {…}, "payload": {"before": null, "after": {"id": "s", "temp": 21.5},
     "op": "c", "ts_ms": 1700000000900}}

The state after the change is the record. A delete, a truncation or a message holds no
point. With the schema in the envelope, decimals are numbers, and columns of dates and
times of day are no metrics.

Source: Debezium documentation, "change events", "data types"; Kafka Connect's
JsonConverter.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from detector.ingest.json_objects.paths import Fields

_ENVELOPE: Final = frozenset(("schema", "payload"))
_DECIMAL: Final = "org.apache.kafka.connect.data.Decimal"
_VARIABLE: Final = frozenset(("scale", "value"))
_DATES: Final = ("io.debezium.time.Date", "org.apache.kafka.connect.data.Date")
_TIMES_OF_DAY: Final = (
    "io.debezium.time.Time",
    "io.debezium.time.MicroTime",
    "io.debezium.time.NanoTime",
    "io.debezium.time.ZonedTime",
    "org.apache.kafka.connect.data.Time",
)
_EPOCH: Final = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Row:
    """What an envelope holds.

    Attributes:
        fields: of the record; None if it holds no point.
        around: fields of the envelope: the table, and the time of the change.
        is_change: it is a change of a row of a table.
    """

    fields: Fields | None
    around: Fields
    is_change: bool


def unwrap(fields: Fields) -> Row | None:
    """What a record wraps; None if it is no envelope."""
    schema: Mapping[str, Any] = {}
    payload: Any = fields
    if fields.keys() == _ENVELOPE:
        payload = fields["payload"]
        given = fields["schema"]
        schema = given if isinstance(given, dict) else {}
        if payload is None:
            return Row(None, {}, is_change=False)
        if not isinstance(payload, dict):
            return None
    if not _is_change(payload):
        if payload is fields:
            return None
        return Row(_plain(payload, schema), {}, is_change=False)
    after = payload.get("after")
    if not isinstance(after, dict):
        return Row(None, payload, is_change=True)
    return Row(_plain(after, _schema_of(schema, "after")), payload, is_change=True)


def _is_change(payload: Fields) -> bool:
    if "op" not in payload or not isinstance(payload["op"], str):
        return False
    return "after" in payload or "before" in payload or "source" in payload


def _schema_of(schema: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    for inner in _fields_of(schema):
        if inner.get("field") == field:
            return inner
    return {}


def _fields_of(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = schema.get("fields")
    if not isinstance(found, list):
        return []
    return [inner for inner in found if isinstance(inner, dict)]


def _plain(fields: Fields, schema: Mapping[str, Any]) -> Fields:
    """The fields with numbers for decimals, and without times of day."""
    plain = {name: _variable_decimal(value) for name, value in fields.items()}
    for column in _fields_of(schema):
        name = column.get("field")
        kind = column.get("name")
        value = plain.get(name) if isinstance(name, str) else None
        if value is None or not isinstance(name, str):
            continue
        if kind == _DECIMAL:
            plain[name] = _decimal(value, column.get("parameters"))
        elif kind in _DATES and type(value) is int:
            plain[name] = _date(value)
        elif kind in _TIMES_OF_DAY:
            del plain[name]
    return plain


def _decimal(value: Any, parameters: Any) -> Any:
    """A number of the bytes of one; the value itself if it can't be read."""
    if not isinstance(value, str) or not isinstance(parameters, dict):
        return value
    return _scaled(value, parameters.get("scale"))


def _variable_decimal(value: Any) -> Any:
    """A decimal that carries its own scale, as a number; any other value as it is."""
    if isinstance(value, dict) and value.keys() == _VARIABLE:
        return _scaled(value["value"], value["scale"])
    return value


def _scaled(value: Any, scale: Any) -> Any:
    try:
        digits = int.from_bytes(
            base64.b64decode(value, validate=True), "big", signed=True
        )
        return digits / math.pow(10, int(scale))
    except (TypeError, ValueError, OverflowError, binascii.Error, ZeroDivisionError):
        return value


def _date(days: int) -> str | None:
    """A date as text, which is a clock and no metric."""
    try:
        return (_EPOCH + datetime.timedelta(days=days)).isoformat()
    except OverflowError:
        return None
