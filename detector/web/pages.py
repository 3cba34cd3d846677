"""The page at ``/``: what runs, and what is wrong now. Plain HTML; everything that
comes from a record is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from detector.notify.payload import AlertBody

_STYLE = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}body{max-width:64rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem}h2{font-size:1.05rem;margin-top:2rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent);vertical-align:top}
.critical{color:#c62828;font-weight:600}.warning{color:#b26a00;font-weight:600}.quiet{opacity:.7}dl{display:flex;gap:2rem;flex-wrap:wrap}
dt{font-size:.8rem;opacity:.7}dd{margin:0;font-size:1.3rem;font-variant-numeric:tabular-nums}
"""


def page(
    status: Mapping[str, Any],
    alerts: Mapping[str, Sequence[AlertBody]],
    counts: Mapping[str, float],
) -> str:
    bundle = status["bundle"]
    facts = {
        "streams": f"{counts['detector_streams']:,.0f}",
        "points scored": f"{counts['detector_scored_total']:,.0f}",
        "records behind": f"{counts['detector_lag_records']:,.0f}",
        "false alarms asked for, per stream and week": f"{status['false_alarms_per_week']:g}",
        f"the fleet's level, at a point every {status['tick_interval']:g} s": f"{status['thresholds']['warning']:.2f}",
    }
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<meta http-equiv="refresh" content="5"><title>streamwarden</title><style>{_STYLE}</style>'
        f'<h1>streamwarden <span class="quiet">{escape(bundle["name"])} {escape(bundle["version"])}</span></h1>'
        f"<dl>{''.join(f'<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>' for k, v in facts.items())}</dl>"
        f"<h2>Firing now ({len(alerts['firing'])})</h2>{_table(alerts['firing'], 'Nothing is firing.')}"
        f"<h2>Resolved since the start</h2>{_table(alerts['resolved'][:50], 'Nothing yet.')}"
        '<p class="quiet"><a href="/metrics">metrics</a> · <a href="/api/v1/alerts">alerts</a> · <a href="/api/v1/status">status</a></p></html>'
    )


def _table(alerts: Sequence[AlertBody], none: str) -> str:
    if not alerts:
        return f'<p class="quiet">{none}</p>'
    rows = "".join(
        f'<tr><td class="{escape(a.labels["severity"])}">{escape(a.labels["severity"])}<td>{escape(a.labels["stream"])}'
        f"<td>{escape(a.startsAt)}<td>{escape(a.annotations['description'])}"
        for a in alerts
    )
    return f"<table><tr><th>severity<th>stream<th>since<th>what{rows}</table>"
