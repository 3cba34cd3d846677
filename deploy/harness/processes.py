"""Processes that a demo or a test starts: their ports, their logs and their ends."""

from __future__ import annotations

import contextlib
import ctypes
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

# Below the kernel's range of ephemeral ports (32768 to 60999 on Linux). A port must
# still be free when its process starts again, and a client that retries a dead loopback
# port inside that range now and then connects to itself.
PORTS: Final = range(15_000, 32_000)
LOG_TAIL_LINES: Final = 30
_PR_SET_PDEATHSIG: Final = 1  # <linux/prctl.h>


class ProcessError(RuntimeError):
    """A process did not start, or did not end as it should. The text has the end of its
    log.
    """


def start_process(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that appends its output to ``log`` and ends with its parent.

    It has a session of its own: Ctrl-C reaches the parent alone, which stops things in
    order. ``environment`` replaces the parent's.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # safe between fork and exec: one system call, looked up before the fork
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )


def die_with_parent() -> Callable[[], None] | None:
    """For ``Popen(preexec_fn=…)``: the kernel kills the child when its parent ends,
    however it ends. None outside Linux.
    """
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def free_ports(count: int) -> list[int]:
    """Loopback ports of :data:`PORTS` that nobody listens on. Raises ProcessError."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, k=len(PORTS)):
        if _is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    span = f"{PORTS.start} and {PORTS.stop}"
    raise ProcessError(f"fewer than {count} loopback ports are free between {span}")


def log_tail(path: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, for an error message."""
    if not path.exists():
        return "(no log)"
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False
