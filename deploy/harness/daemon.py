"""The daemon as a user runs it: a process of its own, configured by its environment,
watched over HTTP, ended by SIGTERM.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deploy.harness.broker import die_with_parent, free_ports, log_tail

POLL_S: Final = 0.05
PREFIX: Final = "DETECTOR_"


class DaemonError(RuntimeError):
    """The daemon did not get ready, or did not end as it should; the text carries the
    last lines of its log.
    """


class Daemon:
    """``python -m detector run`` with ``settings`` (names without the prefix) and
    nothing else of the caller's configuration.
    """

    arguments: Sequence[str] = ("-m", "detector", "run")

    def __init__(self, settings: Mapping[str, str], log: Path) -> None:
        self.port = free_ports(1)[0]
        self.log = log
        self.settings = {**settings, "WEB__LISTEN": f"127.0.0.1:{self.port}"}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def command(self) -> str:
        """How a person would start the same."""
        return " ".join(
            [
                *(f"{PREFIX}{name}={value}" for name, value in self.settings.items()),
                "python -m detector run",
            ]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    def start(self, **more: str) -> None:
        """``more`` goes into the environment as it is."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(PREFIX)
        }
        configured = {PREFIX + name: value for name, value in self.settings.items()}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self.arguments],
                env={**inherited, **configured, **more},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is the demo's to handle
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - one system call, looked up before the fork
            )

    def check_alive(self) -> None:
        """Raise DaemonError if it has ended."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise DaemonError(
                f"the daemon ended with status {code}; its log ends:\n{log_tail(self.log)}"
            )

    def await_ready(self, timeout: float = 60.0) -> None:
        """Return when ``/-/ready`` says 200."""
        deadline = time.monotonic() + timeout
        while not self._ready():
            self.check_alive()
            if time.monotonic() > deadline:
                raise DaemonError(
                    f"the daemon was not ready within {timeout:.0f} s; its log ends:\n{log_tail(self.log)}"
                )
            time.sleep(POLL_S)

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels, from ``/metrics``; 0 where it has none
        or the daemon does not answer.
        """
        total = 0.0
        for line in self._get("/metrics").splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name:
                total += float(value)
        return total

    def stop(self, timeout: float = 30.0) -> None:
        """SIGTERM, as every supervisor does it; raises DaemonError unless it then ends
        with status 0.
        """
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DaemonError(
                f"the daemon had not ended {timeout:.0f} s after SIGTERM; its log ends:\n{log_tail(self.log)}"
            ) from None
        if code:
            raise DaemonError(
                f"the daemon ended with status {code} after SIGTERM; its log ends:\n{log_tail(self.log)}"
            )

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + "/-/ready", timeout=2) as answer:  # noqa: S310 - our own http address
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def _get(self, path: str) -> str:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(self.url + path, timeout=2) as answer,  # noqa: S310 - our own http address
        ):
            return bytes(answer.read()).decode()
        return ""
