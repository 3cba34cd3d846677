"""Puts a partition together from the pages and the head that a store holds.

Theory of operation. A page that is not dirty has seen nothing between its stamp and
the head's offset. So a page with the very stamp that the head names counts as applied
up to the head. Any other page counts as applied up to its own offset. It may be:

- newer, because the checkpoint was cut off before its head;
- older, because somebody put it back from a backup;
- another writer's, because a member wrote on after it had lost the partition.

A state follows from its stream's records alone, so it is right as of that offset
whoever computed it. Reading starts at the lowest of these offsets, and each page skips
what it has seen. A stale page costs a longer replay and never gives a wrong state.

Two writers may have put a new stream into pages of different numbers, and a page of
idle streams may still hold one that came back. Of two rows of one stream the one counts
whose page has the later stamp: it has seen more records. The later event time would not
do, since a clock that was ahead may be right again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from detector.errors import ResetCause
from detector.events import I64, OpenIncident, PendingNotification
from detector.recovery.snapshot import SCHEMA, Head, Page, Restored, WarmUp, to_rows
from detector.recovery.takeover import OwnRows, Takeover, ends, without_incidents
from detector.state.page_rows import PageRows, empty_rows

_Alerts = tuple[tuple[int, PendingNotification], ...]  # with their pages' numbers
# of a row: its page's stamp, its event time, its page's number
_Place = tuple[int, float, int]


def restore(
    bundle: str,
    head: Head | None,
    pages: Sequence[Page],
    width: int,
    takeover: Takeover | None = None,
    own: Restored | None = None,
) -> Restored:
    """Put a partition together again; ``width`` is the bundle's state size.

    A page that the head names and the store lacks was damaged. Its number comes back
    empty, and reading starts at the beginning. Its streams are learned again while
    every other page skips what it holds. The same holds without a head, because pages
    may be missing that nobody knows of.

    Of another bundle's pages ``takeover`` keeps what it can. Without it they give their
    alerts and offset alone. ``own`` is what this bundle left, some time before.
    """
    if head is None and not pages:
        return Restored((), (), None)
    if head is None:
        head = _without_stamps(pages[0])
    if head.bundle != bundle:
        return _of_another_bundle(bundle, head, pages, width, takeover, own)
    ours = [page for page in pages if page.bundle == bundle]
    return _of_this_bundle(head, ours, _alerts(ours), width)


def _without_stamps(page: Page) -> Head:
    """A head at the beginning of the page's partition."""
    return Head(
        schema=SCHEMA,
        bundle=page.bundle,
        partition=page.partition,
        offset=0,
        stamps={},
    )


def _alerts(pages: Sequence[Page]) -> _Alerts:
    """Those of all bundles: what was raised is to be delivered."""
    found: list[tuple[int, PendingNotification]] = []
    for page in pages:
        found += [(page.number, alert) for alert in page.alerts]
    return tuple(found)


def _open_incidents(pages: Sequence[Page]) -> tuple[tuple[int, OpenIncident], ...]:
    found: list[tuple[int, OpenIncident]] = []
    for page in pages:
        found += [(page.number, incident) for incident in page.open]
    return tuple(found)


def _of_this_bundle(
    head: Head,
    pages: Sequence[Page],
    alerts: _Alerts,
    width: int,
) -> Restored:
    pages = [page for page in pages if not _is_left_over(page, head)]
    found = {page.number: page for page in pages}
    last = max([*head.stamps, *found], default=-1)
    # a page's number is its place
    numbers = range(last + 1)
    restored = [_rows(head, number, found, width) for number in numbers]
    offsets = [rows.offset for rows in restored]
    unreadable = head.stamps.keys() - found.keys()
    return Restored(
        pages=_without_duplicates(restored, found),
        alerts=alerts,
        offset=min([head.offset, *offsets]),
        stamps={page.number: page.stamp for page in pages},
        cold=frozenset(head.cold),
        open=_open_incidents(pages),
        resets=_counted(ResetCause.PAGE_UNREADABLE, len(unreadable)),
    )


def _is_left_over(page: Page, head: Head) -> bool:
    """Whether it is of a time before another bundle, or version, took over.

    A page that is newer than its head is stamped with no earlier offset.
    """
    return page.number not in head.stamps and page.stamp.offset < head.offset


def _of_another_bundle(
    bundle: str,
    head: Head,
    pages: Sequence[Page],
    width: int,
    takeover: Takeover | None,
    own: Restored | None,
) -> Restored:
    """A partition that another bundle wrote last.

    A bundle before that one may have left pages. Of these only the alerts count.
    """
    recent = [page for page in pages if page.bundle in (head.bundle, bundle)]
    streams = sum(len(page.names) for page in recent)
    if takeover is not None and takeover.fits(head, recent):
        found = _alerts(pages)
        taken = _taken_over(bundle, head, recent, found, width, takeover, own)
        return replace(taken, resets=_counted(ResetCause.TAKEN_OVER, streams))
    resets = _counted(ResetCause.OTHER_BUNDLE, streams)
    alerts = [alert for _, alert in _alerts(pages)]
    order = max((alert.order for alert in alerts), default=0)
    stored = {page.number: page for page in recent}
    decoded = [to_rows(page) for page in recent]
    ended = list(ends(recent, _without_duplicates(decoded, stored), order))
    alerts += ended
    restored = _as_left(own, head.offset, resets)
    restored = replace(restored, ended=tuple(pending.alert for pending in ended))
    if not alerts:
        return restored
    # the alerts need a page to be kept in
    rows = restored.pages or (empty_rows(0, head.offset, width),)
    waiting = tuple((0, alert) for alert in alerts)
    return replace(restored, pages=rows, alerts=waiting)


def _as_left(
    own: Restored | None, offset: int, resets: Mapping[ResetCause, int]
) -> Restored:
    """What the bundle itself left some time before, at ``offset``.

    Its incidents of then have ended at their receivers. Pages of idle streams stay in
    the store as they are. So a restart before the next checkpoint finds how far each
    was applied.
    """
    if own is None:
        return Restored((), (), offset, resets=resets, warm_up=WarmUp())
    pages = [replace(without_incidents(rows), offset=offset) for rows in own.pages]
    idle = own.cold & own.stamps.keys()
    return Restored(
        pages=tuple(pages),
        alerts=(),
        offset=offset,
        stamps={number: own.stamps[number] for number in idle},
        cold=own.cold,
        resets=resets,
        warm_up=WarmUp(own.pages, own.offset, is_whole=True),
    )


def _taken_over(
    bundle: str,
    head: Head,
    pages: Sequence[Page],
    alerts: _Alerts,
    width: int,
    takeover: Takeover,
    own: Restored | None,
) -> Restored:
    """The streams go on under the new bundle. All pages are written again.

    A checkpoint of the new bundle that was cut off has left pages of its own.
    """
    restored = _of_this_bundle(head, pages, alerts, width)
    written = {page.number for page in pages if page.bundle == bundle}
    known = OwnRows(own.pages if own else ())
    rows = [
        rows if rows.number in written else takeover.rows(rows, known)
        for rows in restored.pages
    ]
    warm_up = _to_warm_up(restored, own)
    return replace(restored, pages=tuple(rows), stamps={}, warm_up=warm_up)


def _to_warm_up(restored: Restored, own: Restored | None) -> WarmUp:
    """What the bundle left of the streams that have to be in memory."""
    if own is None:
        return WarmUp()
    hot: set[str] = set()
    for rows in restored.pages:
        if rows.number not in restored.cold:
            hot.update(rows.names)
    pages = [rows.take(_places(rows, hot)) for rows in own.pages]
    return WarmUp(tuple(pages), own.offset)


def _places(rows: PageRows, names: Set[str]) -> I64:
    """Where the streams are that have one of these names."""
    is_named = [name in names for name in rows.names]
    return np.flatnonzero(np.array(is_named, np.bool_))


def _counted(cause: ResetCause, count: int) -> dict[ResetCause, int]:
    return {cause: count} if count else {}


def _rows(
    head: Head,
    number: int,
    found: dict[int, Page],
    width: int,
) -> PageRows:
    page = found.get(number)
    stamp = head.stamps.get(number)
    if page is None:
        offset = head.offset if stamp is None else 0
        return empty_rows(number, offset, width)
    rows = to_rows(page)
    if page.stamp != stamp:
        return rows
    applied = max(stamp.offset, head.offset)
    return replace(rows, offset=applied)


def clamp(restored: Restored, first: int, end: int) -> Restored:
    """Restored for a log that holds the offsets from ``first`` to before ``end``.

    If records that were never applied are gone, reading starts at ``first`` and the
    states are kept. If the log ends before what was applied, it is another log under
    the same name. It is read from its start, and all pages are written again at the
    next checkpoint, because their stamps count offsets of the old log.
    """
    if restored.offset is None:
        return restored
    applied = [rows.offset for rows in restored.pages]
    furthest = max([restored.offset, *applied])
    if furthest > end:
        return _from_start(restored, first)
    pages = [_not_before(rows, first) for rows in restored.pages]
    offset = max(restored.offset, first)
    return replace(restored, pages=tuple(pages), offset=offset)


def _not_before(rows: PageRows, first: int) -> PageRows:
    offset = max(rows.offset, first)
    return replace(rows, offset=offset)


def _from_start(restored: Restored, first: int) -> Restored:
    pages = [replace(rows, offset=first) for rows in restored.pages]
    return replace(
        restored,
        pages=tuple(pages),
        offset=first,
        stamps={},
        cold=frozenset(),
    )


def _without_duplicates(
    pages: Sequence[PageRows], stored: Mapping[int, Page]
) -> tuple[PageRows, ...]:
    """The same pages, each stream in one of them only.

    That is the page with the latest stamp, and of equals the one where its event time
    is latest.
    """
    streams: set[str] = set()
    for rows in pages:
        streams.update(rows.names)
    count = sum(len(rows.names) for rows in pages)
    if len(streams) == count:
        return tuple(pages)
    best = _best_places(pages, stored)
    return tuple(_chosen(rows, best) for rows in pages)


def _best_places(
    pages: Sequence[PageRows], stored: Mapping[int, Page]
) -> dict[str, _Place]:
    best: dict[str, _Place] = {}
    for rows in pages:
        points = zip(rows.names, rows.times.tolist(), strict=True)
        for name, time in points:
            place = stored[rows.number].stamp.offset, time, rows.number
            best[name] = max(best.get(name, place), place)
    return best


def _chosen(rows: PageRows, best: dict[str, _Place]) -> PageRows:
    """The rows of streams whose best place is in this page."""
    numbers = [best[name][-1] for name in rows.names]
    return rows.take(np.flatnonzero(np.equal(numbers, rows.number)))
