"""The daemon as a user runs it: a process that its environment configures.

It is watched over HTTP, and SIGTERM ends it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import urllib3

from deploy.harness.processes import (
    ProcessError,
    free_ports,
    log_tail,
    start_process,
)

POLL_S: Final = 0.05
ANSWER_S: Final = 2.0  # how long one request may take
PREFIX: Final = "DETECTOR_"


class DaemonError(ProcessError):
    """The daemon did not get ready, or did not end as it should."""


class Daemon:
    """``python -m detector run``; a context manager that kills it at the end.

    ``settings`` are names without the prefix. The caller's own are not passed on.
    """

    arguments: Sequence[str] = ("-m", "detector", "run")

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.port = free_ports(1)[0]
        self.log = log
        self.settings = {**settings, "WEB__LISTEN": f"127.0.0.1:{self.port}"}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base address, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> str:
        """How a person would start the same."""
        settings = [f"{PREFIX}{name}={value}" for name, value in self.settings.items()]
        return " ".join([*settings, "python -m detector run"])

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self, **environment: str) -> None:
        """Start it; ``environment`` is added as it is."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIX)
        }
        configured = {PREFIX + name: value for name, value in self.settings.items()}
        self._process = start_process(
            [sys.executable, *self.arguments],
            self.log,
            environment={**inherited, **configured, **environment},
        )

    def check_alive(self) -> None:
        """Raise DaemonError if it has ended."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise self._error(f"the daemon ended with status {code}")

    def await_ready(self, timeout: float = 60.0) -> None:
        """Return when ``/-/ready`` answers 200. Raises DaemonError."""
        deadline = time.monotonic() + timeout
        while self._get("/-/ready") is None:
            self.check_alive()
            if time.monotonic() > deadline:
                limit = f"{timeout:.0f} s"
                raise self._error(f"the daemon was not ready within {limit}")
            time.sleep(POLL_S)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels; 0 if there is none, or no answer."""
        total = 0.0
        for line in (self._get("/metrics") or "").splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name:
                total += float(value)
        return total

    def stop(self, timeout: float = 30.0) -> None:
        """Send SIGTERM, as every supervisor does. Raises DaemonError unless it then
        ends with status 0.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            limit = f"{timeout:.0f} s"
            raise self._error(
                f"the daemon had not ended {limit} after SIGTERM"
            ) from None
        if code:
            raise self._error(f"the daemon ended with status {code} after SIGTERM")

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _get(self, path: str) -> str | None:
        """The body of an answer with status 200."""
        try:
            answer = urllib3.request(
                "GET", self.url + path, retries=False, timeout=ANSWER_S
            )
        except urllib3.exceptions.HTTPError:
            return None
        return answer.data.decode() if answer.status == 200 else None

    def _error(self, text: str) -> DaemonError:
        return DaemonError(f"{text}; its log ends:\n{log_tail(self.log)}")
