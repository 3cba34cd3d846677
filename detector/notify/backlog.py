"""What is not told one by one: incidents of an old backlog.

Theory of operation. An incident that begins in an old backlog is *held*: nobody is told
of it while the backlog is read. If it ends there, it is counted, and a summary tells of
all such incidents at once. If it is still open when the backlog is read, or goes on
after it, it is told as one that begins, and the summary names it. Of an incident that
receivers knew before, they get the end.

A stream's incidents that ended are one alert: that of the last one, with their number
as ``repeats``. It and the open one are in the stream's page like any notification that
waits, with a mark in place of its first receiver. So a kill loses none of them, counts
none twice, and a version that knows no marks tells them one by one.

The summary leaves when no partition has a backlog left. Its parts stay in their pages
until a receiver has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from detector.events import Alert, Partition, PendingNotification, Reason
from detector.notify.payload import idempotency_key
from detector.notify.receiver_queue import PageKey, StreamKey

# No receiver has a name with a colon.
_HELD: Final = "backlog:held"  # it is open, and nobody was told
_TOLD: Final = "backlog:told"  # it was open when the backlog was read
_ENDED: Final = "backlog:ended"  # those of a stream that ended

Found = tuple[PageKey, PendingNotification]


@dataclass(eq=False, slots=True)
class _Stream:
    """What the backlog has of one stream.

    Attributes:
        held: its open incident, of which nobody was told.
        told: its open incident, which was held and was told then.
        ended: the last of those that ended; ``repeats`` says how many.
        receivers: those that still wait for the summary; empty: those of the routes.
    """

    page: PageKey
    order: int
    held: Alert | None = None
    told: Alert | None = None
    ended: Alert | None = None
    receivers: tuple[str, ...] = ()

    def parts(self) -> Iterator[PendingNotification]:
        """For its page."""
        marked = ((_ENDED, self.ended), (_HELD, self.held), (_TOLD, self.told))
        for mark, alert in marked:
            if alert is not None:
                marks = (mark, *self.receivers)
                yield PendingNotification(alert, self.order, marks)

    def count_ended(self, alert: Alert) -> None:
        """One more of its incidents is over."""
        before = self.ended
        severity = alert.severity
        since = alert.starts_at
        repeats = 1
        if before is not None:
            severity = max(severity, before.severity)
            since = min(since, before.repeats_since)
            repeats += before.repeats
        self.ended = replace(
            alert,
            severity=severity,
            ends_at=alert.at if alert.ends_at is None else alert.ends_at,
            repeats=repeats,
            repeats_since=since,
            deviations=(),  # a summary names streams, and memory is for all of them
        )


class Backlog:
    """Incidents that are held. Not thread-safe: the outbox holds its lock."""

    def __init__(self, changed: set[PageKey]) -> None:
        """``changed`` gets pages that hold less, or older, than they did."""
        self._changed = changed
        self._unread: set[Partition] = set()
        self._streams: dict[StreamKey, _Stream] = {}
        self._pages: dict[PageKey, set[StreamKey]] = {}

    @property
    def is_read(self) -> bool:
        """Whether no partition has a backlog left."""
        return not self._unread

    def begin(self, partition: Partition) -> None:
        self._unread.add(partition)

    def pass_on(
        self, page: PageKey, alert: Alert, order: int, is_old: bool
    ) -> Alert | None:
        """What is to be told of an alert that was raised; None: it is held or counted.

        ``is_old``: its record is old backlog.
        """
        stream = self._streams.get((page[0], alert.stream))
        if stream is not None:
            stream = self._stream(page, alert, order)
        is_held = stream is not None and _is_same(stream.held, alert)
        if not alert.firing:
            is_counted = stream is not None and self._end(stream, alert, is_held)
            return None if is_counted else alert
        if is_old and (is_held or alert.reason is Reason.FIRED):
            self._hold(page, alert, order)
            return None
        if stream is None or not is_held:
            return alert
        stream.held = None
        stream.told = _as_first(alert)
        return stream.told

    def end(self, partition: Partition) -> Sequence[Found]:
        """All of the partition's backlog is read: what is to be told now."""
        self._unread.discard(partition)
        found: list[Found] = []
        for key, stream in self._streams.items():
            if key[0] == partition and stream.held is not None:
                stream.told = _as_first(stream.held)
                told = PendingNotification(stream.told, stream.order)
                found.append((stream.page, told))
                self._changed.add(stream.page)
                stream.held = None
        return found

    def take(self) -> Sequence[Found]:
        """What the summary tells of, each with its mark. Nothing is left then."""
        found: list[Found] = []
        for stream in self._streams.values():
            found += [(stream.page, part) for part in stream.parts()]
            self._changed.add(stream.page)
        self._streams.clear()
        self._pages.clear()
        return found

    def of_page(self, page: PageKey) -> Iterator[PendingNotification]:
        """For the page, as it is written."""
        for key in self._pages.get(page, ()):
            yield from self._streams[key].parts()

    def restore(self, page: PageKey, stored: PendingNotification) -> bool:
        """Whether it is one of ours, or the end of one."""
        mark, receivers = split_mark(stored.pending_receivers)
        alert = stored.alert
        if not mark:
            if alert.firing:
                return False
            return self.pass_on(page, alert, stored.order, False) is None
        stream = self._stream(page, alert, stored.order)
        stream.receivers = receivers
        if mark == _HELD:
            stream.held = alert
        elif mark == _TOLD:
            stream.told = alert
        else:
            stream.ended = alert
        return True

    def forget(self, partition: Partition) -> None:
        """Another member tells of its backlog from now on."""
        self._unread.discard(partition)
        for key in [key for key in self._streams if key[0] == partition]:
            stream = self._streams.pop(key)
            self._pages[stream.page].discard(key)

    def _hold(self, page: PageKey, alert: Alert, order: int) -> None:
        stream = self._stream(page, alert, order)
        before = stream.held
        if before is not None and not _is_same(before, alert):
            stream.count_ended(before)  # its stream started anew meanwhile
        stream.held = alert

    def _end(self, stream: _Stream, alert: Alert, is_held: bool) -> bool:
        """Whether nobody is to be told of the end of an incident."""
        if is_held:
            stream.held = None
            stream.count_ended(alert)
        elif _is_same(stream.told, alert):
            stream.told = None
            stream.count_ended(alert)
        return is_held

    def _stream(self, page: PageKey, alert: Alert, order: int) -> _Stream:
        key = page[0], alert.stream
        stream = self._streams.get(key)
        if stream is None:
            stream = self._streams[key] = _Stream(page, order)
        elif stream.page != page:
            self._pages[stream.page].discard(key)
            self._changed.add(stream.page)
            stream.page = page
        stream.order = order  # what a page holds of an earlier one no longer counts
        self._pages.setdefault(page, set()).add(key)
        return stream


def split_mark(receivers: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """The mark of what a page holds of a backlog, or "", and the receivers."""
    if receivers and receivers[0] in (_HELD, _TOLD, _ENDED):
        return receivers[0], tuple(receivers[1:])
    return "", tuple(receivers)


def notification_key(alert: Alert, mark: str) -> str:
    """Idempotency-Key of an alert that is told by itself, or as part of a summary.

    It has no colon: receivers put it into addresses and mails.
    """
    own = idempotency_key(alert)
    return f"{mark}-{own}".replace(":", "-") if mark else own


def _as_first(alert: Alert) -> Alert:
    """As the first that receivers get of its incident, whatever came before."""
    return replace(alert, reason=Reason.FIRED)


def _is_same(known: Alert | None, alert: Alert) -> bool:
    """Whether both are about one incident of a stream."""
    return known is not None and known.starts_at == alert.starts_at
