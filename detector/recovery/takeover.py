"""What a bundle takes over from the one before it.

A state belongs to the network that computed it. All else belongs to the stream: its
time, its tick, its incidents and their rate, labels, counters, and the incident that is
open. With the same features these go on. Scores of two networks are not comparable, so
the network's state and what is measured in scores are the new bundle's own: those that
it has computed itself, in the past or as it warmed up, else those that streams start
from.

With other features the streams are others. Their open incidents end, and each receiver
that got the beginning gets the end, with the reason ``replaced``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from detector.events import (
    F32,
    SINGLE_METRIC,
    Alert,
    OpenIncident,
    PendingNotification,
    Phase,
    Reason,
    Severity,
)
from detector.recovery.snapshot import Head, Page, Restored
from detector.state.counters import no_counters
from detector.state.decisions import DecisionState, fresh_decisions
from detector.state.held_points import NO_PAST
from detector.state.initial_state import InitialStates
from detector.state.page_rows import PageRows

_alerts = msgspec.msgpack.Decoder(Alert)
# Columns of a decision row that are the stream's own. The others are in units of the
# old network's score, or count points in a row at which it was high or low.
_KEPT = (
    "onset",
    "ended",
    "last_above",
    "observed_seconds",
    "repeats_since",
    "incidents",
    "tick",
    "observed",
    "expected",
    "metric",
    "repeats",
    "phase",
    "severity",
    "last_severity",
    "has_calmed",
    "shifted",
    "is_newcomer",
    "last_digest",
)
_KEPT_BY_FIRING = ("observed", "expected", "metric", "has_calmed", "shifted")


@dataclass(frozen=True, slots=True)
class Takeover:
    """The bundle that takes over.

    Attributes:
        features: its features' names.
        initial: what its streams start from.
    """

    features: tuple[str, ...]
    initial: InitialStates

    def fits(self, head: Head, pages: Sequence[Page]) -> bool:
        """Whether the streams of the bundle before are those of this one.

        A head of before schema 10 does not say its features: names of streams tell
        whether each metric was one.
        """
        if head.features:
            return head.features == self.features
        is_single = self.features == (SINGLE_METRIC,)
        names = [name for page in pages for name in page.names]
        return all(("/" in name) == is_single for name in names)

    def rows(self, before: PageRows, own: OwnRows | None = None) -> PageRows:
        """A page of the bundle before, as this bundle goes on with it.

        ``own`` has what this bundle has computed of the same streams.
        """
        states, decisions = self._own_columns(before.names, own or OwnRows(()))
        _keep(before.decisions, decisions)
        is_single = self.features == (SINGLE_METRIC,)
        nothing = no_counters(len(before.names))
        counters = before.counters if is_single else nothing
        return replace(before, states=states, decisions=decisions, counters=counters)

    def updated(self, rows: PageRows, own: OwnRows) -> PageRows:
        """Rows of this bundle with what it has computed since; others stay."""
        is_known = [name in own.places for name in rows.names]
        places = np.flatnonzero(np.array(is_known, np.bool_))
        if not len(places):
            return rows
        again = self.rows(rows.take(places), own)
        states = rows.states.copy()
        decisions = rows.decisions.copy()
        states[places] = again.states
        decisions[places] = again.decisions
        return replace(rows, states=states, decisions=decisions)

    def _own_columns(
        self, names: Sequence[str], own: OwnRows
    ) -> tuple[F32, DecisionState]:
        """States float32 [n, S] and decision rows [n] of streams under this bundle."""
        initial = self.initial
        states = np.tile(initial.unknown, (len(names), 1))
        decisions = fresh_decisions(len(names))
        decisions["is_newcomer"] = 1
        for i, name in enumerate(names):
            if name in own.places:
                rows, place = own.places[name]
                states[i] = rows.states[place]
                decisions[i] = rows.decisions[place]
            elif name in initial.rows:
                states[i], (decisions[i],) = initial.start(name)
        return states, decisions


class OwnRows:
    """What a bundle has computed of streams, by name.

    Attributes:
        places: stream -> its page, and its place there.
    """

    def __init__(self, pages: Iterable[PageRows]) -> None:
        self.places: dict[str, tuple[PageRows, int]] = {}
        for rows in pages:
            for place, name in enumerate(rows.names):
                self.places[name] = rows, place


def after_warm_up(
    restored: Restored,
    warmed: Sequence[PageRows],
    takeover: Takeover,
    offset: int,
    told: Set[str] = frozenset(),
) -> Restored:
    """What a partition goes on from at ``offset``, once ``warmed`` is computed.

    What a partition that was restored says of its streams counts. Streams that only the
    warm-up has seen follow in pages of their own. Of these, only those that receivers
    were ``told`` of stay in an incident.
    """
    own = OwnRows(warmed)
    is_whole = restored.warm_up is not None and restored.warm_up.is_whole
    pages = []
    for rows in restored.pages:
        is_cold = rows.number in restored.cold
        if is_cold:
            pages.append(_unmoved(rows, own) if is_whole else rows)
        elif is_whole:
            pages.append(_others(rows, own.places.keys()))
        else:
            pages.append(takeover.updated(rows, own))
    known: set[str] = set()
    for rows in pages:
        known.update(rows.names)
    for rows in warmed:
        numbered = replace(_others(rows, known), number=len(pages), offset=offset)
        pages.append(without_incidents(numbered, told))
    return replace(restored, pages=tuple(pages), offset=offset, warm_up=None)


def _others(rows: PageRows, names: Set[str]) -> PageRows:
    """The rows of all streams but these."""
    is_other = [name not in names for name in rows.names]
    return rows.take(np.flatnonzero(np.array(is_other, np.bool_)))


def _unmoved(rows: PageRows, own: OwnRows) -> PageRows:
    """The rows of a page in the store that are what ``own`` has of their streams.

    The others have had points since. Their rows in memory count from here on, and the
    page in the store is not written again, as when an idle stream comes back.
    """
    is_same = [_is_same(rows, i, own) for i in range(len(rows.names))]
    return rows.take(np.flatnonzero(np.array(is_same, np.bool_)))


def _is_same(rows: PageRows, i: int, own: OwnRows) -> bool:
    """Whether ``own`` has row ``i`` with no point more, or does not have it."""
    found = own.places.get(rows.names[i])
    if found is None:
        return True
    again, place = found
    has_time = rows.times[i] == again.times[place]
    has_steps = rows.decisions["steps"][i] == again.decisions["steps"][place]
    has_past = rows.pasts.get(i, NO_PAST) == again.pasts.get(place, NO_PAST)
    return bool(has_time and has_steps and has_past)


def without_incidents(rows: PageRows, told: Set[str] = frozenset()) -> PageRows:
    """The same, with no incident open but those of streams that were ``told``.

    Nobody knows of the others. A stream that is still over its threshold begins one
    with its next points.
    """
    decisions = rows.decisions.copy()
    is_told = np.array([name in told for name in rows.names], np.bool_)
    is_firing = (decisions["phase"] == Phase.FIRING) & ~is_told
    decisions["phase"][is_firing] = Phase.OK
    for name in ("severity", "breach_streak", "critical_streak"):
        decisions[name][is_firing] = 0
    return replace(rows, decisions=decisions)


def _keep(before: DecisionState, own: DecisionState) -> None:
    """Write what is the streams' own of ``before`` into ``own``, DECISION [n] both.

    Nobody was told of incidents that only ``own`` has. Such a stream's next points tell
    it.
    """
    own_phase = own["phase"].copy()
    is_firing = before["phase"] == Phase.FIRING
    for name in _KEPT:
        kept = before[name]
        is_of_incident = name in _KEPT_BY_FIRING
        own[name] = np.where(is_firing, kept, own[name]) if is_of_incident else kept
    quiet = np.minimum(own_phase, Phase.OK)
    own["phase"] = np.where(is_firing, Phase.FIRING, quiet)
    own["severity"] = np.where(is_firing, own["severity"], 0)
    for streak in ("breach_streak", "critical_streak"):
        own[streak] = np.where(is_firing, own[streak], 0)


def ends(
    pages: Sequence[Page], rows_of: Sequence[PageRows], order: int
) -> Iterator[PendingNotification]:
    """The end of each open incident, for the receivers that got its beginning.

    ``rows_of`` has the rows of each of the ``pages``, each stream in one of them only.
    ``order`` is that of the last notification before these.

    Without receivers that get incidents again, the pages do not say who got it: the
    routes do.
    """
    for page, rows in zip(pages, rows_of, strict=True):
        told = {incident.stream: incident for incident in page.open}
        for i in np.flatnonzero(rows.decisions["phase"] == Phase.FIRING).tolist():
            order += 1
            incident = told.get(rows.names[i])
            alert = _last_alert(incident) or _alert_of(page, rows, i)
            at = max(alert.at, float(rows.times[i]))
            ended = replace(alert, reason=Reason.REPLACED, ends_at=at, at=at)
            receivers = tuple(incident.last_acked) if incident else ()
            yield PendingNotification(ended, order, receivers)


def _last_alert(incident: OpenIncident | None) -> Alert | None:
    """None if there is none, or it was written in another form."""
    if incident is None:
        return None
    try:
        return _alerts.decode(incident.alert)
    except msgspec.DecodeError:
        return None


def _alert_of(page: Page, rows: PageRows, i: int) -> Alert:
    """The alert of a stream's open incident, without the values that nobody kept."""
    row = rows.decisions[i]
    peak = float(row["peak"])
    return Alert(
        partition=page.partition,
        stream=rows.names[i],
        severity=Severity(int(row["severity"])),
        reason=Reason.STILL_FIRING,
        starts_at=float(row["onset"]),
        ends_at=None,
        at=float(rows.times[i]),
        score=peak,
        threshold=peak - float(row["peak_margin"]),
    )
