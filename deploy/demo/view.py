"""The terminal's view of a run: injected faults on the left, incidents on the right.

States are words and never colours alone, and both sides fit into 80 columns. If output
is not a terminal, every event is one line instead.
"""

from __future__ import annotations

import datetime
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.demo.generator import TICK_S, Fault
from deploy.demo.judge import SLACK_S, belongs, first_incident
from deploy.harness.receiver import Incident

# Lines of the live view beside its rows: header, borders, column heads, last line.
FRAME_LINES: Final = 8
# Size of the picture: all faults of the default run fit in.
PICTURE_COLUMNS: Final = 110
PICTURE_ROWS: Final = 22
_FOREIGN: Final = re.compile(r"@font-face {.*?}|<!--.*?-->", re.DOTALL)
# Event time between two lines of progress if output is not a terminal.
LOG_EVERY_S: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of the run.

    Attributes:
        begin: event time in epoch seconds, as ``now`` and ``end``.
        seconds: wall time since the first record.
        faults: those whose records have begun.
    """

    begin: float
    now: float
    end: float
    streams: int
    records: int
    seconds: float
    faults: Sequence[Fault]
    incidents: Sequence[Incident]

    @property
    def rate(self) -> float:
        return self.records / self.seconds if self.seconds else 0.0

    @property
    def multiple(self) -> float:
        return (self.now - self.begin) / self.seconds if self.seconds else 0.0


class View(Protocol):
    """Shows a run as it goes, between ``open`` and ``close``."""

    def open(self) -> None: ...
    def update(self, progress: Progress) -> None: ...
    def close(self) -> None: ...


def view_for(console: Console) -> View:
    return LiveView(console) if console.is_terminal else LineView(console)


def clock(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%a %H:%M}"


def fault_state(fault: Fault, incidents: Sequence[Incident], now: float) -> str:
    """``waiting``, ``missed``, or how long it took to find."""
    first = first_incident(fault, incidents)
    if first is not None:
        return f"{(first.fired_at - fault.start) / 60:.0f} min"
    return "missed" if now > fault.end + SLACK_S else "waiting"


def cause(incident: Incident, faults: Sequence[Fault]) -> str:
    """The kind of the fault that it belongs to, or ``false alarm``."""
    fault = next((f for f in faults if belongs(incident, f)), None)
    return "false alarm" if fault is None else fault.kind.value


class LiveView:
    """Two panels, drawn over themselves."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=False)
        self._console = console

    def open(self) -> None:
        self._live.start()

    def update(self, progress: Progress) -> None:
        self._live.update(self.render(progress))

    def close(self) -> None:
        self._live.stop()

    def render(self, progress: Progress) -> RenderableType:
        return sides_of(progress, max(3, self._console.height - FRAME_LINES))


def save_picture(progress: Progress, path: Path) -> None:
    """Draw the live view into an SVG file, as the README shows it."""
    console = Console(
        record=True, width=PICTURE_COLUMNS, file=io.StringIO(), highlight=False
    )
    console.print(sides_of(progress, PICTURE_ROWS))
    # rich names a font on the web; a page that shows the picture must not fetch it
    drawn = _FOREIGN.sub("", console.export_svg(title="make demo"))
    path.write_text(drawn)


def sides_of(progress: Progress, rows: int) -> RenderableType:
    """The run's state, with up to ``rows`` faults and incidents, the last ones."""
    sides = Table.grid(expand=True)
    sides.add_column(ratio=1)
    sides.add_column(ratio=1)
    injected = f"Injected faults: {len(progress.faults)}"
    reported = f"Reported incidents: {len(progress.incidents)}"
    sides.add_row(
        Panel(_injected(progress, rows), title=injected),
        Panel(_reported(progress, rows), title=reported),
    )
    bar = ProgressBar(progress.end - progress.begin, progress.now - progress.begin)
    return Group(
        _header(progress),
        # a bar ends no line of its own
        Padding(bar, 0),
        sides,
    )


def _header(progress: Progress) -> Text:
    parts = [
        f"{clock(progress.now)}, {progress.multiple:,.0f} x real time",
        f"{progress.streams} streams",
        f"{progress.records:,} records, {progress.rate:,.0f}/s",
    ]
    return Text("   ".join(parts), no_wrap=True)


def _injected(progress: Progress, rows: int) -> Table:
    table = _table("start", "stream", "fault", "found in")
    for fault in progress.faults[-rows:]:
        state = fault_state(fault, progress.incidents, progress.now)
        style = {"missed": "red", "waiting": "yellow"}.get(state, "green")
        table.add_row(
            clock(fault.start)[-5:], fault.stream, fault.kind.value, Text(state, style)
        )
    return table


def _reported(progress: Progress, rows: int) -> Table:
    table = _table("start", "stream", "state", "cause")
    for incident in progress.incidents[-rows:]:
        is_open = incident.ends is None
        state = incident.severity if is_open else "resolved"
        table.add_row(
            clock(incident.starts)[-5:],
            incident.stream,
            Text(state, "red" if is_open else "green"),
            cause(incident, progress.faults),
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    return table


class LineView:
    """One line for each event: for a pipe, a file or a CI log."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._faults = 0
        self._states: dict[tuple[str, float], tuple[str, bool]] = {}
        self._logged = 0.0

    def open(self) -> None:
        """Nothing to draw on."""

    def update(self, progress: Progress) -> None:
        for fault in progress.faults[self._faults :]:
            what = f"{fault.kind.value} in {fault.stream} until {clock(fault.end)}"
            self._line(fault.start, "injected", what)
        self._faults = len(progress.faults)
        for incident in progress.incidents:
            self._report_changes(incident, progress)
        if progress.now >= self._logged + LOG_EVERY_S:
            self._logged = progress.now - progress.now % TICK_S
            what = f"{progress.records:,} records, {progress.rate:,.0f} records/s"
            self._line(progress.now, "progress", what)

    def close(self) -> None:
        """Nothing was kept open."""

    def _report_changes(self, incident: Incident, progress: Progress) -> None:
        key = (incident.stream, incident.starts)
        state = (incident.severity, incident.ends is not None)
        before = self._states.get(key)
        if before == state:
            return
        self._states[key] = state
        if before is None:
            what = f"{incident.summary} [{cause(incident, progress.faults)}]"
            self._line(incident.fired_at, incident.severity, what)
        elif before[0] != incident.severity:
            what = f"{incident.stream} got worse"
            self._line(progress.now, incident.severity, what)
        if incident.ends is not None:
            self._line(incident.ends, "resolved", incident.stream)

    def _line(self, at: float, event: str, text: str) -> None:
        self._console.print(
            f"{clock(at)}  {event:<9} {text}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
