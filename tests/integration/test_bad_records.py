"""100,000 records of every bad kind between good ones.

Each bad record is counted by its reason and kept; every good one is scored. A record
whose values can't be used is neither, and counted too.
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from deploy.harness.broker import Broker
from tests.integration.conftest import Start
from tests.integration.history import START, TICK
from tests.integration.stage import (
    DaemonProcess,
    Record,
    WebhookReceiver,
    dead_letters,
    eventually,
    produce,
)

BAD: Final = 100_000
PARTITIONS: Final = 4
STREAMS: Final = 64
MAX_BYTES: Final = 4096
NO_POINT: Final = "no_point"


class Fuzzed(NamedTuple):
    """A record, and the reasons it may be rejected for; none: it is scored.

    ``NO_POINT`` among them: it may be neither.
    """

    record: Record
    reasons: frozenset[str] = frozenset()


def fields(**values: object) -> bytes:
    return json.dumps(
        {"timestamp": START, "stream": "fuzz", "cpu": 0.5, "mem": 0.5} | values
    ).encode()


def raw(**literals: str) -> bytes:
    """A record in which some values are the given literals, JSON or not."""
    whole = {"timestamp": str(START), "stream": '"fuzz"', "cpu": "0.5"} | literals
    return (
        "{" + ", ".join(f'"{name}": {literal}' for name, literal in whole.items()) + "}"
    ).encode()


WORDS: Final = (
    "naïve",
    "☃",
    "Zürich",
    "温度",
    "\x00",
    "'; --",
    "${env}",
    "../../etc",
    "<b>",
    "\n",
)
WRONG: Final = (
    "[]",
    "{}",
    "[1]",
    '{"value": 1}',
    '""',
    '"NaN"',
)
NOT_JSON: Final = (
    "nan",
    "0x10",
    "1_0",
    "+1",
    ".5",
    "01",
    "undefined",
    "'a'",
    "1,,",
    "",
)
TOO_BIG: Final = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e39",
    "-1e39",
    "1e308",
    "3.5e38",
    "1e400",
    "-1e400",
    "9" * 60,
    "-" + "9" * 400,
)
NOT_A_TIME: Final = (
    "true",
    "[]",
    "{}",
    "-1",
    "0",
    "1e300",
    "1e400",
    '"yesterday"',
    '"2024-02-30"',
    '""',
    '"nan"',
    '"1e999"',
    '"-inf"',
)
NOT_AN_OBJECT: Final = (
    b"[]",
    b"1",
    b'"text"',
    b"null",
    b"true",
    b"1.5e3",
    b"[{}]",
    b" ",
    b"\n\n",
    b"{}{}",
    b"{} {}",
    b"<xml/>",
    b"a,b,c",
    b"\x00" * 9,
)

Maker = Callable[[random.Random], tuple[bytes | None, bytes | None, str]]


def _bytes(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"fuzz", b"\xff" + rng.randbytes(rng.randrange(1, 60)), "encoding malformed"


def _truncated(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    whole = fields(note=rng.choice(WORDS))
    return b"fuzz", whole[: rng.randrange(1, len(whole))], "malformed"


def _flipped(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    """A byte that UTF-8 never has, in a value that is read.

    In a field that is ignored it would be ignored too.
    """
    place = rng.choice((b"1700000000", b"fuzz", b"0.5", b", ", b": "))
    before, _, after = fields().partition(place)
    at = rng.randrange(len(place))
    return (
        b"fuzz",
        before + place[:at] + bytes([rng.randrange(0xF8, 0x100)]) + place[at:] + after,
        "encoding malformed",
    )


def _foreign(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    text = fields(stream=rng.choice(WORDS[:4])).decode()
    value = json.dumps(json.loads(text), ensure_ascii=False)
    how = rng.choice(("utf-16", "utf-16-be", "utf-32", "cp037"))
    return b"fuzz", value.encode(how, errors="ignore"), "encoding malformed"


def _wrong_type(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    name = rng.choice(("cpu", "stream"))
    literal = rng.choice(WRONG if name == "cpu" else ("1", "true", "[]", "{}", "1.5"))
    reasons = f"{NO_POINT} no_features" if name == "cpu" else "type"
    return b"fuzz", raw(**{name: literal}), reasons


def _not_json(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"fuzz", raw(cpu=rng.choice(NOT_JSON)), "malformed"


def _infinite(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"fuzz", raw(cpu=rng.choice(TOO_BIG)), NO_POINT


def _time(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"fuzz", raw(timestamp=rng.choice(NOT_A_TIME)), "timestamp type"


def _no_object(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    value = rng.choice(NOT_AN_OBJECT)
    if value.startswith(b"\x00"):  # as a frame of a schema registry does
        return b"fuzz", value, "schema"
    return b"fuzz", value, f"malformed no_features {NO_POINT}"


def _nothing(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"fuzz", b"", "empty"


def _vacant(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return (
        b"fuzz",
        rng.choice(
            (
                b"{}",
                raw(cpu="null"),
                raw(cpu="null", mem="null"),
                b'{"other": 1}',
                b'{"CPU": 1}',
            )
        ),
        "no_features",
    )


def _nameless(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return (
        rng.choice((None, b"")),
        rng.choice((b'{"cpu": 1}', raw(stream="null"))),
        "no_stream",
    )


def _foreign_key(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"\xff" + rng.randbytes(4), b'{"cpu": 1}', "encoding"


def _deep(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    depth = rng.randrange(1500, 2000)
    opened = rng.choice(
        ("[" * depth, "[" * depth + "]" * depth, '{"a":' * (depth // 3))
    )
    return b"fuzz", rng.choice((opened.encode(), raw(cpu=opened))), "malformed type"


def _huge(rng: random.Random) -> tuple[bytes | None, bytes | None, str]:
    return b"fuzz", fields(note="x" * (MAX_BYTES + rng.randrange(100))), "too_large"


#: Each kind with its weight: the large ones are rarer.
KINDS: Final[dict[Maker, int]] = {
    **dict.fromkeys(
        (
            _bytes,
            _truncated,
            _flipped,
            _foreign,
            _wrong_type,
            _not_json,
            _infinite,
            _time,
        ),
        100,
    ),
    **dict.fromkeys((_no_object, _nothing, _vacant, _nameless, _foreign_key), 100),
    _deep: 10,
    _huge: 5,
}


def _good(rng: random.Random, stream: str, at: float) -> Record:
    """A good record in one of its forms.

    The key or a field names its stream; its time is a number or text; it may have a
    field that the bundle does not know.
    """
    cells: dict[str, object] = {
        "cpu": rng.choice((float, str))(rng.gauss(0, 0.3)),
        "mem": rng.choice((None, 1, -0.0, 1e-320, 2.5)),
    }
    whole: dict[str, object] = {"timestamp": rng.choice((at, str(at), int(at)))} | cells
    if rng.random() < 0.5:
        whole["stream"] = stream
    if rng.random() < 0.2:
        unknown = rng.choice(
            (
                "note",
                "host.name",
                "x`y",
                "line\nbreak",
                'quo"te',
                "ünï",
                "",
                *(f"field-{i}" for i in range(90)),
            )
        )
        whole[unknown] = rng.choice(
            (1, None, "text", [1, [2, {"a": []}]], {"cpu": {"timestamp": True}}, 1e308)
        )
    return Record(
        stream.encode(),
        json.dumps(whole, ensure_ascii=rng.random() < 0.5).encode(),
        int(stream.rpartition("-")[2]) % PARTITIONS,
    )


def fuzzed(seed: int) -> Iterator[Fuzzed]:
    """Good records between bad ones; late and repeated records come after both."""
    rng = random.Random(seed)
    ticks = [0] * STREAMS
    last: dict[int, Record] = {}
    kinds = list(KINDS)
    weights = list(KINDS.values())
    for maker in rng.choices(kinds, weights, k=BAD):
        n = rng.randrange(STREAMS)
        stream = f"host-{n}"
        where = n % PARTITIONS
        if rng.random() < 0.1:
            ticks[n] += 1
            last[n] = _good(rng, stream, START + TICK * ticks[n])
            yield Fuzzed(last[n])
        if ticks[n] > 2 and rng.random() < 0.1:
            back = rng.randrange(3)
            late = fields(stream=stream, timestamp=START + TICK * (ticks[n] - back))
            again = Record(b"fuzz", late, where) if back else last[n]
            yield Fuzzed(again, frozenset({"late" if back else "duplicate"}))
            continue
        key, value, reasons = maker(rng)
        yield Fuzzed(Record(key, value, where), frozenset(reasons.split()))


REASONS: Final = {
    "late",
    "duplicate",
    "too_large",
    "empty",
    "type",
    "timestamp",
    "encoding",
    "malformed",
    "no_stream",
    "no_features",
    "schema",
}


@pytest.mark.parametrize("partitions", [PARTITIONS])
def test_a_hundred_thousand_bad_records_cost_no_good_one(
    broker: Broker, topic: str, start: Start, receiver: WebhookReceiver, tmp_path: Path
) -> None:
    everything = list(fuzzed(seed=5))
    good = sum(not f.reasons for f in everything)
    assert len(everything) - good == BAD
    receiver.start()
    daemon = start(
        KAFKA__MAX_RECORD_BYTES=str(MAX_BYTES), KAFKA__DEAD_LETTER_BYTES=str(1 << 30)
    )
    produce(broker, topic, [f.record for f in everything])
    await_all_read(daemon, len(everything))
    assert daemon.get("/-/healthy") == (200, "healthy\n")
    scored = daemon.value("detector_scored_total")

    written = dead_letters(tmp_path / "a")
    wrong = differences(everything, written)
    assert not wrong, "\n".join(f"{n} x {what}" for what, n in wrong.most_common(12))
    assert scored == good
    assert {letter["topic"] for letter in written} == {topic}
    counted = Counter(letter["reason"] for letter in written)
    assert counted.keys() >= REASONS
    for reason, count in counted.items():
        assert daemon.value("detector_rejected_total", reason=reason) == count
        logged = f"event=record_rejected reason={reason} "
        assert daemon.log_text().count(logged) == 1
    daemon.stop()


def await_all_read(daemon: DaemonProcess, records: int) -> None:
    """Until each record is scored, rejected, or counted as one without points."""
    daemon.await_value("detector_records_total", records, deadline=60)
    eventually(lambda: daemon.value("detector_lag_records") == 0, "no lag")

    def decided() -> float:
        scored = daemon.value("detector_scored_total")
        without_points = daemon.value("detector_records_without_points_total")
        return scored + without_points + daemon.value("detector_rejected_total")

    eventually(lambda: decided() == records, "each record is accounted for")


def differences(
    everything: Iterable[Fuzzed], written: Iterable[Mapping[str, Any]]
) -> Counter[str]:
    """Records that are not in the dead letters for the right reason, or not at all."""
    letters = {(d["partition"], d["offset"]): d for d in written}
    offsets = [0] * PARTITIONS
    wrong = Counter[str]()
    for record, reasons in everything:
        partition = record.partition or 0
        letter = letters.pop((partition, offsets[partition]), None)
        offsets[partition] += 1
        is_left_out = letter is None and NO_POINT in reasons
        found = letter["reason"] if letter else "scored"
        if found not in (reasons or {"scored"}) and not is_left_out:
            detail = letter["detail"] if letter else ""
            expected = sorted(reasons) or "scored"
            wrong[f"{found} {detail} instead of {expected}: {record!r}"[:400]] += 1
    wrong.update(f"a dead letter of no record: {place}" for place in letters)
    return wrong
