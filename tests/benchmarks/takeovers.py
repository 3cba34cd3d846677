"""Three members of a group: how long partitions are unread if one of them is killed,
and while all are restarted in turn.
"""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from deploy.harness.broker import Broker
from tests.benchmarks.restarts import DEADLINE, Producer, settings
from tests.benchmarks.rounds import Row
from tests.integration.stage import DaemonProcess, await_all_committed, eventually

MEMBERS: Final = 3
PARTITIONS: Final = 6
_STARTED: Final = re.compile(r"timestamp=(\S+) .*event=started .*partition=(\S+)")
_GIVEN_UP: Final = re.compile(
    r"timestamp=(\S+) .*event=partitions_(?:revoked|lost) .*partitions=(\S+)"
)

_Change = tuple[float, str, bool]  # epoch seconds, partition, whether it is read now


def takeovers(rounds: int) -> list[Row]:
    """Seconds until the records of a killed member's partitions are scored elsewhere,
    and for which a partition is unread at most in a rolling restart.
    """
    killed = []
    rolled = []
    with TemporaryDirectory() as folder, Broker() as broker:
        producer = Producer(broker, PARTITIONS)
        with ExitStack() as stack:
            members = [
                stack.enter_context(_member(broker, producer, Path(folder) / str(n)))
                for n in range(MEMBERS)
            ]
            for member in members:
                _start(member)
            producer.history()
            for _ in range(rounds):
                await_all_committed(broker, producer.topic, producer.topic, PARTITIONS)
                _await_shared(members)
                killed.append(_killed(members, producer))
                _start(members[0])
                _await_shared(members)
                rolled.append(_rolled(members))
        producer.close()
    return [_row("one of three killed", killed, 12.0), _row("rolling", rolled, 5.0)]


def _member(broker: Broker, producer: Producer, place: Path) -> DaemonProcess:
    place.mkdir()
    return DaemonProcess(settings(broker, producer, "kafka", place), place / "0.log")


def _start(member: DaemonProcess) -> None:
    """In the same place, with a log that is of this process alone."""
    started = len(list(member.log.parent.glob("*.log")))
    member.log = member.log.with_name(f"{started}.log")
    member.start()


def _await_shared(members: Sequence[DaemonProcess]) -> None:
    """Until each has as many partitions as the others, and reads them."""
    share = [PARTITIONS // MEMBERS] * MEMBERS
    eventually(lambda: [len(m.owned()) for m in members] == share, "shared", DEADLINE)
    ready = [1.0] * MEMBERS
    eventually(
        lambda: [m.metric("detector_ready") for m in members] == ready,
        "all are ready",
        DEADLINE,
    )


def _killed(members: Sequence[DaemonProcess], producer: Producer) -> float:
    left = members[1:]
    before = _scored(left)
    members[0].kill()
    began = time.perf_counter()
    producer.one_each()
    eventually(
        lambda: _scored(left) >= before + PARTITIONS, "scored elsewhere", DEADLINE
    )
    return time.perf_counter() - began


def _scored(members: Sequence[DaemonProcess]) -> float:
    return sum(member.metric("detector_scored_total") for member in members)


def _rolled(members: Sequence[DaemonProcess]) -> float:
    """The longest time for which a partition was unread."""
    began = time.time()
    stops: list[_Change] = []
    for member in members:
        stops += [(time.time(), partition, False) for partition in member.owned()]
        member.stop()
        _start(member)
        _await_shared(members)
    changes = [change for member in members for change in _changes(member)]
    since = [change for change in changes if change[0] >= began]
    return max(_unread([*stops, *since]))


def _changes(member: DaemonProcess) -> Iterator[_Change]:
    """What its log says of partitions that it reads from then on, or no more."""
    logs = sorted(member.log.parent.glob("*.log"))
    log = "".join(each.read_text() for each in logs)
    for at, partition in _STARTED.findall(log):
        yield _epoch(at), partition, True
    for at, partitions in _GIVEN_UP.findall(log):
        for partition in partitions.split(","):
            yield _epoch(at), partition, False


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _unread(changes: Sequence[_Change]) -> Iterator[float]:
    """Seconds from each end of reading a partition to its next beginning."""
    ended: dict[str, float] = {}
    for at, partition, is_read in sorted(changes):
        if not is_read:
            ended.setdefault(partition, at)
        elif partition in ended:
            yield at - ended.pop(partition)


def _row(what: str, seconds: Sequence[float], bar: float) -> Row:
    return {
        "members": what,
        "times": len(seconds),
        "median": statistics.median(seconds),
        "worst": max(seconds),
        "bar": bar,
    }
