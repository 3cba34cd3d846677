"""One run: a feed, members that come, go and die, a broker and a receiver that fail.

One seed decides everything but the exact moments, which depend on the machine. The
verdict compares the run with an undisturbed one over the same log:

- the notifications are the same, none lost and none invented;
- every stream's state is the same within 1e-5;
- the group has committed every record.
"""

from __future__ import annotations

import contextlib
import random
import resource
import signal
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.harness.broker import Broker
from deploy.harness.processes import free_ports
from detector.clock import SystemClock
from detector.events import Partition
from detector.kafka.settings import KafkaSettings
from detector.model.bundle import Bundle, load_bundle
from detector.recovery.store import Store
from detector.recovery.store_kafka import KafkaStore
from detector.recovery.store_local import LocalStore
from tests.chaos.mortal import STEPS
from tests.chaos.oracle import (
    Identity,
    Log,
    Outcome,
    differing,
    stored,
    undisturbed,
)
from tests.chaos.receiver import MODES, FailingReceiver
from tests.fakes import write_bundle
from tests.integration.history import history, records
from tests.integration.stage import DaemonProcess, committed_and_end, eventually

PARTITIONS: Final = 4
STREAMS: Final = 1100  # more than a page in each partition
TICKS: Final = 1  # of each stream for each fault
CALM: Final = 120.0  # seconds in which everything must come out after the last fault
_SHOWN: Final = 5  # failures of each kind that a verdict names
COUNTED: Final = (
    "kills",
    "joins and leaves",
    "records",
    "notifications",
    "lost, invented or wrong",
)
SETTINGS: Final = {
    "KAFKA__SESSION_TIMEOUT_MS": "3000",
    "KAFKA__MAX_POLL_RECORDS": "300",
    "ALERTING__RETRY_FIRST": "0.05",
    "ALERTING__RETRY_MAX": "0.3",
    "ALERTING__WEBHOOK_TIMEOUT": "0.5",
    "RECOVERY__INTERVAL": "0.1",
    # less than between two shares of the feed: streams leave memory and come back
    "MODEL__EVICT_AFTER": "0.7",
    "SHUTDOWN_DEADLINE": "10",
}


class Mortal(DaemonProcess):
    """A daemon whose store may kill it."""

    arguments = ("-m", "tests.chaos.mortal")


@dataclass
class Verdict:
    """The outcome of a run.

    Attributes:
        faults: how many of each kind there were.
        failures: sentences; none if the run held.
    """

    seed: int
    store: str
    faults: Counter[str]
    records: int
    notifications: int
    seconds: float
    failures: list[str] = field(default_factory=list)

    def count(self, what: str) -> int:
        """One of :data:`COUNTED`."""
        kills = [n for kind, n in self.faults.items() if kind.startswith("kill")]
        return {
            "kills": sum(kills),
            "joins and leaves": self.faults["join"] + self.faults["leave"],
            "records": self.records,
            "notifications": self.notifications,
            "lost, invented or wrong": len(self.failures),
        }[what]


class Chaos:
    """One run against one store.

    ``kind`` is ``local``, with one member, or ``kafka``, with one to three.
    """

    def __init__(self, broker: Broker, folder: Path, kind: str, seed: int) -> None:
        self._broker = broker
        self._folder = folder
        self._kind = kind
        self._seed = seed
        self._random = random.Random(seed)
        self._pause = threading.Event()  # never set: waited on for a while
        self._topic = f"chaos-{uuid.uuid4().hex[:8]}"
        self._group = f"group-{self._topic}"
        self._bundle = write_bundle(folder / "bundle")
        self._receiver = FailingReceiver(free_ports(1)[0])
        self._members: dict[str, DaemonProcess] = {}
        self._armed: set[str] = set()
        self._faults: Counter[str] = Counter()
        broker.create_topic(self._topic, PARTITIONS)

    def run(self, faults: int, ends: float | None = None) -> Verdict:
        """So many faults, or fewer if the monotonic clock passes ``ends``."""
        began = time.monotonic()
        try:
            with self._feed(faults) as feed:
                self._start("m0")
                for _ in range(faults):
                    feed()
                    self._one_fault()
                    if ends is not None and time.monotonic() > ends:
                        break
            return self._verdict(began)
        finally:
            for member in self._members.values():
                member.kill()
            self._receiver.close()

    # -- the feed ----------------------------------------------------------------------

    @contextlib.contextmanager
    def _feed(self, faults: int) -> Iterator[Callable[[], None]]:
        """Sends the next share of the history, and does not wait for it.

        All of it is durable at the end.
        """
        rows = history(STREAMS, (faults + 1) * TICKS, self._seed)
        share = STREAMS * TICKS
        chunks = iter([rows[i : i + share] for i in range(0, len(rows), share)])
        producer = KafkaProducer(
            bootstrap_servers=self._broker.bootstrap,
            linger_ms=5,
            delivery_timeout_ms=120_000,
        )

        def feed() -> None:
            chunk = next(chunks)
            for row, record in zip(chunk, records(chunk), strict=True):
                producer.send(
                    self._topic,
                    key=record.key,
                    value=record.value,
                    partition=int(row.stream.rpartition("-")[2]) % PARTITIONS,
                )

        try:
            yield feed
            feed()  # a last share, without a fault
            producer.flush(timeout=120)
        finally:
            producer.close(timeout=10)

    def _logs(self) -> dict[Partition, Log]:
        """The records of the topic, in order."""
        consumer = KafkaConsumer(
            bootstrap_servers=self._broker.bootstrap, enable_auto_commit=False
        )
        logs: dict[Partition, list[tuple[bytes, bytes]]] = {}
        try:
            for number in range(PARTITIONS):
                tp = TopicPartition(self._topic, number)
                consumer.assign([tp])
                consumer.seek_to_beginning(tp)
                log = logs[Partition(self._topic, number)] = []
                end = consumer.end_offsets([tp])[tp]
                while len(log) < end:
                    log += [
                        (r.key, r.value)
                        for r in consumer.poll(timeout_ms=500).get(tp, [])
                    ]
        finally:
            consumer.close(autocommit=False)
        return dict(logs)

    # -- the members -------------------------------------------------------------------

    def _start(self, name: str, die: str = "") -> None:
        store = (
            f"local:{self._folder / 'state'}"
            if self._kind == "local"
            else f"kafka:{self._topic}-state"
        )
        settings = SETTINGS | {
            "KAFKA__BOOTSTRAP_SERVERS": self._broker.bootstrap,
            "KAFKA__TOPICS": self._topic,
            "KAFKA__GROUP_ID": self._group,
            "KAFKA__GROUP_INSTANCE_ID": name,
            "MODEL__BUNDLE": str(self._bundle),
            "ALERTING__WEBHOOK_URL": self._receiver.url,
            "RECOVERY__STORE": store,
            "RECOVERY__DEAD_LETTERS": str(self._folder / f"{name}-dead"),
        }
        made = Mortal if die else DaemonProcess
        self._members[name] = made(settings, self._folder / f"{name}.log")
        self._members[name].start(**({"CHAOS_DIE": die} if die else {}))
        if die:
            self._armed.add(name)

    def _revive(self) -> None:
        """Start the members again that their stores killed.

        A member that ended otherwise is a failure.
        """
        for name in sorted(self._armed):
            if not self._members[name].running:
                if self._members[name].status(0) != -signal.SIGKILL:
                    self._members[name].check_alive()
                self._armed.discard(name)
                self._start(name)
        for member in self._members.values():
            if member.running:
                continue
            if not any(self._members[name] is member for name in self._armed):
                member.check_alive()

    def _end(self, name: str) -> None:
        """By SIGTERM, once it is up: it must leave in order."""
        member = self._members[name]
        eventually(lambda: member.get("/-/healthy")[0] != 0, f"{name} is up")
        member.stop(timeout=30)

    def _any(self) -> str:
        return self._random.choice(sorted(self._members))

    def _wait(self, most: float) -> None:
        self._pause.wait(self._random.uniform(0, most))

    # -- the faults --------------------------------------------------------------------

    def _one_fault(self) -> None:
        faults: dict[Callable[[], str], int] = {
            self._kill: 5,
            self._die_in_a_checkpoint: 5,
            self._stop: 1,
            self._fail_to_receive: 3,
        }
        faults[self._restart_the_broker] = 1
        if self._kind == "local":
            faults[self._fill_the_disk] = 2
        else:
            faults[self._join_or_leave] = 6
        self._wait(0.6)
        (fault,) = self._random.choices(list(faults), weights=list(faults.values()))
        self._revive()
        self._faults[fault()] += 1
        self._revive()

    def _kill(self) -> str:
        name = self._any()
        self._members[name].kill()
        self._armed.discard(name)
        self._wait(0.3)
        self._start(name)
        return "kill -9 at a random moment"

    def _die_in_a_checkpoint(self) -> str:
        """Its store kills it once there is something to write; the feed goes on."""
        name = self._any()
        has_files = self._kind == "local"
        steps = [step for step in STEPS if step != "torn" or has_files]
        step = self._random.choice(steps)
        self._members[name].kill()
        self._start(name, f"{step}:{self._random.randint(1, 4)}")
        # there may be nothing to write before the next share comes
        with contextlib.suppress(AssertionError):
            eventually(lambda: not self._members[name].running, "its death", 4.0)
        return f"kill -9 in a checkpoint: {step}"

    def _stop(self) -> str:
        name = self._any()
        if name in self._armed:
            return self._kill()
        self._end(name)
        self._start(name)
        return "stop and start"

    def _join_or_leave(self) -> str:
        free = [name for name in ("m0", "m1", "m2") if name not in self._members]
        is_alone = len(self._members) == 1
        if is_alone or (free and self._random.random() < 0.5):
            self._start(free[0])
            return "join"
        name = self._any()
        if name in self._armed:
            self._members[name].kill()
        else:
            self._end(name)
        self._armed.discard(name)
        del self._members[name]
        return "leave"

    def _fail_to_receive(self) -> str:
        self._receiver.mode = self._random.choice(MODES)
        return f"receiver: {self._receiver.mode}"

    def _restart_the_broker(self) -> str:
        self._broker.kill()
        self._wait(1.0)
        self._broker.restart()
        return "broker: kill -9 and restart"

    def _fill_the_disk(self) -> str:
        """For a while no file of the member may grow beyond a kilobyte.

        The kernel refuses it, as a full disk does.
        """
        process = self._members[self._any()].pid
        for limit in (1024, resource.RLIM_INFINITY):
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(
                    process, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)
                )
            if limit != resource.RLIM_INFINITY:
                self._wait(1.5)
        return "disk full"

    # -- the verdict -------------------------------------------------------------------

    def _verdict(self, began: float) -> Verdict:
        self._receiver.mode = "ok"
        self._calm_down()
        bundle = load_bundle(self._bundle)
        logs = self._logs()
        expected = undisturbed(bundle, logs)
        verdict = Verdict(
            self._seed,
            self._kind,
            self._faults,
            records=sum(map(len, logs.values())),
            notifications=len(expected.identities),
            seconds=0.0,
        )
        wanted = expected.identities
        self._expect(verdict, self._all_committed, "every record is committed")
        self._expect(
            verdict,
            lambda: self._receiver.taken >= wanted,
            "every notification is delivered",
        )
        for name in self._members:
            self._end(name)
        verdict.failures += self._wrong_notifications(wanted)
        verdict.failures += self._wrong_states(bundle, logs, expected)
        verdict.seconds = time.monotonic() - began
        return verdict

    def _wrong_notifications(self, wanted: frozenset[Identity]) -> list[str]:
        taken = self._receiver.taken
        lost = sorted(wanted - taken)[:_SHOWN]
        invented = sorted(taken - wanted)[:_SHOWN]
        return [
            *(f"lost: {identity}" for identity in lost),
            *(f"invented: {identity}" for identity in invented),
        ]

    def _wrong_states(
        self, bundle: Bundle, logs: Mapping[Partition, Log], expected: Outcome
    ) -> list[str]:
        store = self._store()
        offsets, states = stored(bundle, store, list(logs))
        store.close()
        early = [
            f"{partition} would be read from {offsets[partition]} and holds {len(log)}"
            for partition, log in logs.items()
            if offsets[partition] != len(log)
        ]
        different = differing(states, expected)[:_SHOWN]
        return [*early, *(f"state of {stream}" for stream in different)]

    def _calm_down(self) -> None:
        """Replace the members that may still die."""
        for name in sorted(self._armed):
            self._members[name].kill()
            self._start(name)
        self._armed.clear()
        self._revive()

    def _expect(
        self, verdict: Verdict, condition: Callable[[], bool], what: str
    ) -> None:
        try:
            eventually(condition, what, CALM)
        except AssertionError as error:
            verdict.failures.append(str(error))

    def _all_committed(self) -> bool:
        committed, ends = committed_and_end(
            self._broker, self._topic, self._group, PARTITIONS
        )
        return committed == ends

    def _store(self) -> Store:
        if self._kind == "local":
            return LocalStore(self._folder / "state")
        return KafkaStore(
            KafkaSettings(bootstrap_servers=(self._broker.bootstrap,)),
            f"{self._topic}-state",
            SystemClock(),
        )
