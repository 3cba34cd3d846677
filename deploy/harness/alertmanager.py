"""A real Prometheus Alertmanager for tests: Debian's package, one process on loopback.

Its gossip is off, so it is a cluster of one. It notifies nobody: tests read what it
holds from its own API.

Debian compiles the directory of the templates into the program as an absolute path.
Without root nothing can be put there. So a copy of the program gets a relative path of
the same length instead, and runs in the unpacked directory.
"""

from __future__ import annotations

import atexit
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import urllib3

from deploy.harness.debian import find_program
from deploy.harness.processes import (
    ProcessError,
    free_ports,
    log_tail,
    start_process,
)

PACKAGE: Final = "prometheus-alertmanager"
START_S: Final = 30.0
POLL_S: Final = 0.05
ASSETS: Final = "/usr/share/prometheus/alertmanager"  # compiled into the program
CONFIG: Final = """\
route:
  receiver: nobody
  group_by: [alertname, severity]
  group_wait: 0s
receivers:
  - name: nobody
"""


class AlertmanagerError(ProcessError):
    """It did not start."""


class Alertmanager:
    """One Alertmanager and its directory; a context manager that starts and ends it."""

    def __init__(self, directory: Path, config: str = CONFIG) -> None:
        """Raises ProgramNotAvailable."""
        installed = find_program(PACKAGE, PACKAGE)
        directory.mkdir(parents=True, exist_ok=True)
        self._program = directory / PACKAGE
        self._assets = _relocate(installed, self._program)
        self._config = directory / "alertmanager.yml"
        self._config.write_text(config)
        self._data = directory / "data"
        self._log = directory / "alertmanager.log"
        self._port = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base address, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        self._program.unlink()

    def start(self) -> None:
        """Start it, and return when it is ready. Raises AlertmanagerError."""
        self._process = start_process(
            [
                str(self._program),
                f"--config.file={self._config}",
                f"--storage.path={self._data}",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--cluster.listen-address=",
            ],
            self._log,
            directory=self._assets,
        )
        atexit.register(self.kill)
        deadline = time.monotonic() + START_S
        while not self._ready():
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.kill()
                tail = log_tail(self._log)
                raise AlertmanagerError(f"it did not start; its log ends:\n{tail}")
            time.sleep(POLL_S)

    def kill(self) -> None:
        """End it at once; its directory stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        atexit.unregister(self.kill)

    def _ready(self) -> bool:
        try:
            answer = urllib3.request(
                "GET", f"{self.url}/-/ready", retries=False, timeout=1.0
            )
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200


def _relocate(installed: Path, copy: Path) -> Path:
    """Copy a program that finds its templates in its working directory.

    The directory with the templates, in which the copy must run.
    """
    here = "./" * (len(ASSETS) // 2)
    content = installed.read_bytes()
    copy.write_bytes(content.replace(ASSETS.encode(), here.encode()))
    copy.chmod(0o755)
    return installed.parents[2] / ASSETS.lstrip("/")
