"""What waits, by page: a page is written with what waits in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from detector.events import Partition, PendingNotification
from detector.notify.receiver_queue import Entry, PageKey

_AlertKey = tuple[Partition, str]  # with the alert's idempotency key
_Key = TypeVar("_Key", bound=tuple[Partition, object])
_Value = TypeVar("_Value")


class Waiting:
    """Notifications that are not settled. Not thread-safe: the outbox holds its lock.

    Attributes:
        changed: pages that hold less, or older, than when they were last written.
    """

    def __init__(self) -> None:
        self.changed: set[PageKey] = set()
        self._unsettled: dict[_AlertKey, Entry] = {}
        self._pages: dict[PageKey, dict[str, Entry]] = {}

    def has(self, partition: Partition, key: str) -> bool:
        return (partition, key) in self._unsettled

    def add(self, entry: Entry) -> None:
        partition, _ = entry.page
        self._unsettled[partition, entry.key] = entry
        self._pages.setdefault(entry.page, {})[entry.key] = entry

    def release(self, entry: Entry, receiver: str) -> None:
        """Its page need not hold it for this receiver any more."""
        entry.pending_receivers.discard(receiver)
        partition, _ = entry.page
        key = partition, entry.key
        if self._unsettled.get(key) is not entry:
            return
        self.changed.add(entry.page)
        if not entry.pending_receivers:
            del self._unsettled[key]
            del self._pages[entry.page][entry.key]

    def of_page(self, page: PageKey) -> list[PendingNotification]:
        """For the page, as it is written."""
        return [entry.pending() for entry in self._pages.get(page, {}).values()]

    def take_changed(self, partition: Partition) -> set[int]:
        """Numbers of the partition's pages in ``changed``, which no longer has them."""
        taken = {page for page in self.changed if page[0] == partition}
        self.changed -= taken
        return {number for _, number in taken}

    def forget(self, partition: Partition) -> None:
        """Another member has the partition now."""
        self._unsettled = _without(self._unsettled, partition)
        self._pages = _without(self._pages, partition)
        self.take_changed(partition)


def _without(table: Mapping[_Key, _Value], part: Partition) -> dict[_Key, _Value]:
    return {key: value for key, value in table.items() if key[0] != part}
