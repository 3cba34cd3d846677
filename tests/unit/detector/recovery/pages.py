"""Pages and heads that tests write down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from detector.events import (
    FeatureDeviation,
    Partition,
    PendingNotification,
)
from detector.recovery.snapshot import SCHEMA, Head, Page, Stamp, to_page
from detector.state.decisions import fresh_decisions
from detector.state.page_rows import PageRows
from tests.unit.detector.notify.alerts import fired

P = Partition("metrics", 7)
WIDTH = 3
WRITER = 7
CPU = FeatureDeviation("cpu", "%", 1.0, 2.0, 1.0)
FIRED = replace(fired("s0", P), deviations=(CPU,))
ALERT = PendingNotification(FIRED, 3, ("hook", "pager"))


def page(
    number: int,
    offset: int,
    bundle: str = "bundle",
    alerts: tuple[PendingNotification, ...] = (),
    writer: int = WRITER,
) -> Page:
    """A page with one stream, whose state is the offset."""
    rows = PageRows(
        number,
        offset,
        names=(f"s{number}",),
        states=np.full((1, WIDTH), offset, np.float32),
        decisions=fresh_decisions(1, known=True),
        times=np.array([9.0]),
    )
    return to_page(bundle, P, rows, writer, alerts)


def head(offset: int, stamps: dict[int, int], bundle: str = "bundle") -> Head:
    """``stamps`` are the offset of each page, by number."""
    named = {number: Stamp(stamp, WRITER) for number, stamp in stamps.items()}
    return Head(SCHEMA, bundle, P, offset, named)
