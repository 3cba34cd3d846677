"""Requests to a schema registry, for a loop that must not wait for one that is down.

A request runs on a thread of its own. Who asks waits for a moment, and asks again later
for the same: the answer is then there, or the request goes on. After a fault nothing is
asked for a while, so that many partitions do not each wait for the same registry.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final, Generic, TypeVar

from detector.clock import Clock
from detector.errors import Transient

#: Seconds that the daemon's loop waits for an answer. A registry answers within tens of
#: milliseconds; a longer stop of all partitions would be felt as lag.
PATIENCE: Final = 0.3
#: Seconds without a request after one that failed.
PAUSE: Final = 1.0

_T = TypeVar("_T")


class PatientRequests(Generic[_T]):
    """Answers by what is asked for. Not thread-safe.

    ``patience`` None: each request is made by who asks, however long it takes.
    """

    def __init__(self, patience: float | None, clock: Clock) -> None:
        self._patience = patience
        self._clock = clock
        self._asked: dict[str, Future[_T]] = {}
        self._fault = ""
        self._until = 0.0  # monotonic seconds; before it nothing is asked

    def get(self, target: str, ask: Callable[[], _T]) -> _T:
        """The answer. Raises what ``ask`` raises, and Transient if it is not there."""
        if self._patience is None:
            return ask()
        if self._clock.monotonic() < self._until:
            raise Transient(self._fault)
        answer = self._asked.get(target)
        if answer is None:
            answer = self._asked[target] = _on_a_thread(ask)
        try:
            found = answer.result(self._patience)
        except Transient as error:
            del self._asked[target]
            self._pause(error)
            raise
        except TimeoutError:
            fault = Transient("the schema registry has not answered yet")
            self._pause(fault)
            raise fault from None
        # whatever failed is asked again for the next record, and rises to its owner
        except Exception:
            del self._asked[target]
            raise
        del self._asked[target]
        return found

    def _pause(self, fault: Transient) -> None:
        self._fault = str(fault)
        self._until = self._clock.monotonic() + PAUSE


def _on_a_thread(ask: Callable[[], _T]) -> Future[_T]:
    """A thread that ends with the program: its request has a timeout of its own."""
    answer: Future[_T] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        # whatever it is, who asks is to see it
        except BaseException as error:  # noqa: BLE001
            answer.set_exception(error)

    threading.Thread(target=run, name="schema-registry", daemon=True).start()
    return answer
