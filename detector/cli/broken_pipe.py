"""Commands whose output is read by another: where that one has read enough, as ``head``
has, they end without a word.

Their exit status is then that of a command that SIGPIPE ended. The signal itself stays
ignored, as Python has it: it would end the daemon for any socket that is closed on it.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec

_Given = ParamSpec("_Given")


def exit_on_broken_pipe(main: Callable[_Given, int]) -> Callable[_Given, int]:
    """``main``, all that it printed flushed when it ends."""

    @functools.wraps(main)
    def quietly(*arguments: _Given.args, **named: _Given.kwargs) -> int:
        try:
            try:
                return main(*arguments, **named)
            finally:
                print(end="", flush=True)
        except BrokenPipeError:
            if not _unread(sys.stdout.fileno()) and not _unread(sys.stderr.fileno()):
                raise  # of a socket, or another file
            # what is buffered still is flushed once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    return quietly


def _unread(descriptor: int) -> bool:
    """Whether it is a pipe that nobody reads from any more: that is told unasked."""
    pipe = select.poll()
    pipe.register(descriptor, 0)
    return bool(pipe.poll(0))
