"""The page at ``/``: what runs, and which incidents are open or recent.

Everything that comes from a record or from the settings is escaped here, before it is
put into the template: markup, and characters that are not printable.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape as escape_markup
from importlib import resources
from string import Template
from typing import Final

from detector.history.incident_log import Incidents
from detector.notify.labels import OWN_LABELS
from detector.notify.payload import AlertBody
from detector.phrases import escaped
from detector.state.census import PrefixCount
from detector.timestamps import rfc3339
from detector.web.facts import REFUSED, ControlState, Status

SHOWN: Final = 200  # incidents in each table: a page stays below 100 KB
_NOT_KNOWN = "Not known yet: the daemon is not ready."
_FILES = resources.files("detector.web")
_PAGE = Template((_FILES / "templates" / "page.html").read_text(encoding="utf-8"))
STYLE: Final = (_FILES / "static" / "style.css").read_text(encoding="utf-8")


def page(
    status: Status,
    incidents: Incidents,
    counts: Mapping[str, float],
    not_ready_because: str = "",
    resets: Mapping[str, int] | None = None,
) -> str:
    """The HTML; at most :data:`SHOWN` incidents of each table are in it.

    ``not_ready_because`` is why the daemon scores nothing; empty if it does. ``resets``
    has how many states began anew, by cause.
    """
    bundle = status.bundle
    nothing = _NOT_KNOWN if not_ready_because else "Nothing is firing."
    return _PAGE.substitute(
        bundle=_escape(f"{bundle.name} {bundle.version}"),
        notice=_notice(not_ready_because)
        + _reset_notice(resets or {})
        + _control_notice(status.control),
        facts="\n".join(_facts(status, counts)),
        fleet=_escape(status.fleet.in_words),
        firing_count=f"{len(incidents.firing) + incidents.not_listed:,}",
        firing=_table(incidents.firing, nothing, incidents.not_listed),
        resolved=_table(incidents.resolved, "Nothing yet."),
    )


def _notice(not_ready_because: str) -> str:
    if not not_ready_because:
        return ""
    return f'<p class="notice">Not ready: {_escape(not_ready_because)}.</p>'


def _reset_notice(resets: Mapping[str, int]) -> str:
    if not resets:
        return ""
    listed = ", ".join(f"{cause} {count:,}" for cause, count in resets.items())
    text = f"States that began anew since the start: {listed}. The log says why."
    return f'<p class="notice">{_escape(text)}</p>'


def _control_notice(control: ControlState) -> str:
    """What was refused, what runs in shadow, and what a restart would change."""
    lines = []
    if control.last is not None and control.last.result == REFUSED:
        at = rfc3339(control.last.at)
        lines.append(f"At {at}, `{control.last.command}` was refused: ")
        lines[-1] += control.last.message
    if control.shadow is not None:
        bundle = control.shadow.bundle
        since = rfc3339(control.shadow.since)
        lines.append(f"In shadow since {since}: {bundle.name} {bundle.version}.")
    if control.shadow_fault:
        lines.append(f"The shadow ended by a fault: {control.shadow_fault}.")
    if control.at_restart:
        names = ", ".join(control.at_restart)
        lines.append(f"A restart would run with other values of {names}.")
    return "".join(f'<p class="notice">{_escape(line)}</p>' for line in lines)


def _escape(text: str) -> str:
    """Text as HTML that shows it as it is."""
    return escape_markup(escaped(text))


def _facts(status: Status, counts: Mapping[str, float]) -> Iterator[str]:
    threshold = f"fleet threshold, at a point every {status.tick_interval:g} s"
    shown = {
        "streams": _count(counts["detector_streams"]),
        "points scored": _count(counts["detector_scored_total"]),
        "records behind": _count(counts["detector_lag_records"]),
        "budget: false alarms per stream and week": f"{status.false_alarms_per_week:g}",
        threshold: f"{status.thresholds.warning:.2f}",
    }
    if status.fleet.prefixes:
        shown["streams by prefix"] = _prefixes(status.fleet.prefixes)
    for name, value in shown.items():
        yield f"<div><dt>{_escape(name)}</dt><dd>{_escape(value)}</dd></div>"


def _prefixes(counts: Sequence[PrefixCount]) -> str:
    """``web 1,200 · db 40``."""
    return " · ".join(f"{count.prefix} {count.streams:,}" for count in counts)


def _count(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:,.0f}"


def _table(incidents: Sequence[AlertBody], otherwise: str, not_listed: int = 0) -> str:
    if not incidents:
        return f'<p class="quiet">{_escape(otherwise)}</p>'
    head = "<tr><th>severity<th>stream<th>since<th>lasted<th>what</tr>"
    rows = [_row(incident) for incident in incidents[:SHOWN]]
    left_out = len(incidents) - len(rows) + not_listed
    rest = f'<p class="quiet">and {left_out:,} more</p>' if left_out else ""
    return "\n".join(["<table>", head, *rows, "</table>", rest])


def _row(incident: AlertBody) -> str:
    severity = _escape(incident.labels["severity"])
    cells = [
        f'<td class="{severity}">{severity}</td>',
        f"<td>{_escape(incident.labels['stream'])}{_labels(incident)}</td>",
        _cell(incident.startsAt),
        _cell(incident.annotations.get("duration", "")),
        _cell(incident.annotations["description"]),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _labels(incident: AlertBody) -> str:
    """The configured labels, below the stream's name."""
    shown = [
        _escape(f"{name}={value}")
        for name, value in sorted(incident.labels.items())
        if name not in OWN_LABELS
    ]
    return f'<br><span class="quiet">{" ".join(shown)}</span>' if shown else ""


def _cell(text: str) -> str:
    return f"<td>{_escape(text)}</td>"
