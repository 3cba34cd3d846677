"""Programs that write metrics to Kafka, of Debian's packages: collectd, kcat, rsyslog.

They run in a directory of their own, without root, with the configuration that their
pages in docs/producers show.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.harness.debian import library_path, unpack
from deploy.harness.processes import ProcessError, log_tail, start_process

SEND_S: Final = 60.0  # for kcat to deliver what it was given
_KAFKA: Final = "librdkafka1"
_COLLECTD: Final = """\
Hostname "web-1"
FQDNLookup false
Interval 1
BaseDir "{directory}"
PIDFile "{directory}/collectd.pid"
PluginDir "{root}/usr/lib/collectd"
TypesDB "{root}/usr/share/collectd/types.db"
LoadPlugin load
LoadPlugin memory
LoadPlugin interface
LoadPlugin write_kafka
<Plugin write_kafka>
  Property "metadata.broker.list" "{bootstrap}"
  <Topic "{topic}">
    Format {format}
    Key Random
  </Topic>
</Plugin>
"""
_RSYSLOG: Final = """\
global(workDirectory="{directory}")
module(load="imfile" mode="polling" pollingInterval="1")
module(load="omkafka")
template(name="line" type="string" string="%msg%")
input(type="imfile" file="{file}" tag="metrics")
action(
  type="omkafka"
  broker=["{bootstrap}"]
  topic="{topic}"
  template="line"
)
"""


class Producer:
    """One process that goes on writing; a context manager that starts and ends it."""

    def __init__(self, root: Path, log: Path, command: Sequence[str]) -> None:
        self._command = command
        self._environment = _environment(root)
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._process = start_process(self._command, self._log, self._environment)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def check_alive(self) -> None:
        """Raises ProcessError, with the end of the log, if it ended by itself."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            tail = log_tail(self._log)
            raise ProcessError(f"it ended with status {code}; its log ends:\n{tail}")


def collectd(
    directory: Path, bootstrap: str, topic: str, form: str = "JSON"
) -> Producer:
    """collectd with ``write_kafka``: load, memory and interfaces, each second.

    ``form`` is its option ``Format``. Raises ProgramNotAvailable.
    """
    root = unpack("collectd-core", _KAFKA)
    config = directory / "collectd.conf"
    text = _COLLECTD.format(
        directory=directory, root=root, bootstrap=bootstrap, topic=topic, format=form
    )
    config.write_text(text)
    program = root / "usr/sbin/collectd"
    command = [str(program), "-f", "-C", str(config)]
    return Producer(root, directory / "collectd.log", command)


def rsyslog(directory: Path, bootstrap: str, topic: str, file: Path) -> Producer:
    """rsyslog with ``omkafka``: each line of a file is a record.

    Raises ProgramNotAvailable.
    """
    root = unpack(
        "rsyslog", "rsyslog-kafka", _KAFKA, "libestr0", "libfastjson4", "liblognorm5"
    )
    config = directory / "rsyslog.conf"
    text = _RSYSLOG.format(
        directory=directory, file=file, bootstrap=bootstrap, topic=topic
    )
    config.write_text(text)
    command = [
        str(root / "usr/sbin/rsyslogd"),
        "-n",
        "-f",
        str(config),
        "-i",
        str(directory / "rsyslog.pid"),
        "-M",
        str(Path(library_path(root)) / "rsyslog"),
    ]
    return Producer(root, directory / "rsyslog.log", command)


def kcat(bootstrap: str, topic: str, lines: bytes, *options: str) -> None:
    """Write each line as a record, and return when all are delivered.

    Raises ProgramNotAvailable, and ProcessError with what it says.
    """
    root = unpack("kcat", _KAFKA)
    program = root / "usr/bin/kcat"
    done = subprocess.run(
        [str(program), "-P", "-b", bootstrap, "-t", topic, *options],
        input=lines,
        env=dict(_environment(root)),
        capture_output=True,
        timeout=SEND_S,
        check=False,
    )
    if done.returncode:
        raise ProcessError(f"kcat ended with {done.returncode}: {done.stderr.decode()}")


def _environment(root: Path) -> Mapping[str, str]:
    return {**os.environ, "LD_LIBRARY_PATH": library_path(root)}
