"""Notifications between the loop, which puts them in, and the delivery thread, which settles them.

Order is that of arrival, so firing comes before resolved for each stream. Every notification belongs to a page: it is written with
the page's rows until it is settled, so that state, offset and what is still to be said are one fact. A replay that raises
a notification again while it is still queued adds nothing.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from detector.alerting.payload import idempotency_key
from detector.events import Alert, Partition

PageKey = tuple[Partition, int]


@dataclass(frozen=True, slots=True)
class Entry:
    key: str
    page: PageKey
    alert: Alert


class Outbox:
    """Thread-safe; nothing in it blocks the loop."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._unsettled: dict[str, Entry] = {}
        self._pages: dict[PageKey, dict[str, Entry]] = {}
        self._settled_pages: set[PageKey] = set()
        self._closed = False

    def put(self, page: PageKey, alert: Alert) -> None:
        entry = Entry(f"{alert.partition}:{idempotency_key(alert)}", page, alert)
        with self._lock:
            if entry.key in self._unsettled:
                return
            self._unsettled[entry.key] = entry
            self._pages.setdefault(page, {})[entry.key] = entry
            self._queue.append(entry)
            self._lock.notify()

    def next(self, timeout: float) -> Entry | None:
        """The oldest notification, left in place until it is settled; None when there is none for ``timeout`` seconds."""
        with self._lock:
            self._lock.wait_for(lambda: self._queue or self._closed, timeout)
            return self._queue[0] if self._queue else None

    def settle(self, entry: Entry) -> None:
        """It was delivered or dead-lettered: the next checkpoint of its page leaves it out."""
        with self._lock:
            self._queue.remove(entry)
            del self._unsettled[entry.key]
            self._pages[entry.page].pop(entry.key)
            self._settled_pages.add(entry.page)
            self._lock.notify_all()

    def unsettled(self, page: PageKey) -> tuple[Alert, ...]:
        with self._lock:
            return tuple(e.alert for e in self._pages.get(page, {}).values())

    def take_settled_pages(self, partition: Partition) -> set[int]:
        """Pages of the partition whose notifications changed since the last call."""
        with self._lock:
            taken = {p for p in self._settled_pages if p[0] == partition}
            self._settled_pages -= taken
            return {number for _, number in taken}

    def wait_empty(self, timeout: float) -> bool:
        with self._lock:
            return bool(self._lock.wait_for(lambda: not self._queue, timeout))

    def close(self) -> None:
        """Wake the delivery thread for good."""
        with self._lock:
            self._closed = True
            self._lock.notify_all()

    def __len__(self) -> int:
        with self._lock:
            return len(self._queue)
