"""Exit quietly when the reader of standard output goes away, as in ``replay | head``.

The exit status is that of a command that SIGPIPE ended. The signal itself stays
ignored, as Python sets it: it would end the daemon for any socket that is closed on it.
"""

from __future__ import annotations

import functools
import os
import select
import signal
import sys
from collections.abc import Callable
from typing import ParamSpec

_Parameters = ParamSpec("_Parameters")


def exit_on_broken_pipe(
    main: Callable[_Parameters, int],
) -> Callable[_Parameters, int]:
    """``main``, which also flushes at its end all that it printed.

    A BrokenPipeError of anything but standard output and error passes through.
    """

    @functools.wraps(main)
    def wrapped(*arguments: _Parameters.args, **named: _Parameters.kwargs) -> int:
        try:
            try:
                return main(*arguments, **named)
            finally:
                print(end="", flush=True)
        except BrokenPipeError:
            outputs = (sys.stdout, sys.stderr)
            if not any(_has_no_reader(output.fileno()) for output in outputs):
                raise  # of a socket, or of another file
            # Python flushes once more at exit what is still buffered
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 128 + signal.SIGPIPE

    return wrapped


def _has_no_reader(descriptor: int) -> bool:
    """Whether it is a pipe that nobody reads any more, which poll reports unasked."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))
