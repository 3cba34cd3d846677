"""Incidents that receivers were told of, once the store is lost.

Theory of operation. The note beside the committed offset says which these are
(:mod:`detector.recovery.note`). Streams warm up from the log and are in most of these
incidents again: they go on. The others end, so that no receiver waits for an end that
nobody can tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np

from detector.events import (
    Alert,
    OpenIncident,
    Partition,
    PendingNotification,
    Phase,
    Reason,
    Severity,
)
from detector.recovery.note import Told, ToldIncident
from detector.recovery.snapshot import Restored
from detector.state.decisions import DecisionState
from detector.state.page_rows import PageRows, empty_rows


@dataclass(frozen=True, slots=True)
class TakenUp:
    """What became of the incidents.

    Attributes:
        restored: what the partition goes on from.
        found: incidents that go on.
        ended: those that end because nobody knows more of them.
    """

    restored: Restored
    found: int
    ended: int


def take_up(
    restored: Restored, partition: Partition, told: Told, width: int
) -> TakenUp:
    """Go on with these incidents where a stream is in one, and end the others.

    ``width`` is the bundle's state size. Receivers are told of both: some may not have
    got the beginning before the store was lost.
    """
    if not told.incidents:
        return TakenUp(restored, 0, 0)
    pages = list(restored.pages) or [empty_rows(0, restored.offset or 0, width)]
    pages = [replace(rows, decisions=rows.decisions.copy()) for rows in pages]
    places = {name: (rows, i) for rows in pages for i, name in enumerate(rows.names)}
    alerts: list[tuple[int, PendingNotification]] = []
    opened: list[tuple[int, OpenIncident]] = []
    for order, incident in enumerate(told.incidents, 1):
        rows, i = places.get(incident.stream, (pages[0], None))
        alert = _alert(incident, partition, rows, i)
        alerts.append((rows.number, PendingNotification(alert, order)))
        if i is not None and alert.firing:
            _go_on(rows.decisions[i : i + 1], incident)
            body = msgspec.msgpack.encode(alert)
            known = OpenIncident(incident.stream, incident.starts_at, body, {})
            opened.append((rows.number, known))
    lost = [pending.alert for _, pending in alerts if not pending.alert.firing]
    after = replace(
        restored,
        pages=tuple(pages),
        alerts=(*restored.alerts, *alerts),
        open=(*restored.open, *opened),
        ended=(*restored.ended, *lost),
    )
    return TakenUp(after, len(opened), len(alerts) - len(opened))


def _go_on(row: DecisionState, incident: ToldIncident) -> None:
    """The stream's incident is that one."""
    row["onset"] = incident.starts_at
    row["severity"] = incident.severity


def _alert(
    incident: ToldIncident, partition: Partition, rows: PageRows, i: int | None
) -> Alert:
    """That the incident is open, or that it ends; ``i`` is the stream's row, if any."""
    alert = Alert(
        partition=partition,
        stream=incident.stream,
        severity=Severity(incident.severity),
        reason=Reason.LOST,
        starts_at=incident.starts_at,
        ends_at=incident.starts_at,
        at=incident.starts_at,
        score=0.0,
        threshold=0.0,
    )
    if i is None:
        return alert
    row = rows.decisions[i]
    time = float(rows.times[i])
    at = max(incident.starts_at, time) if np.isfinite(time) else incident.starts_at
    peak = float(row["peak"])
    alert = replace(
        alert,
        at=at,
        ends_at=at,
        score=peak,
        threshold=peak - float(row["peak_margin"]),
        tags=rows.labels[i] if rows.labels else {},
    )
    if row["phase"] != Phase.FIRING:
        return alert
    return replace(alert, reason=Reason.FIRED, ends_at=None)
