"""Durations as people say them."""

from __future__ import annotations

import numpy as np

from detector.timestamps import HOUR, MINUTE


def duration(seconds: float) -> str:
    """As people say it; a dash where there is none."""
    if not np.isfinite(seconds):
        return "-"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    return (
        f"{seconds / MINUTE:.0f} min"
        if seconds < 2 * HOUR
        else f"{seconds / HOUR:.1f} h"
    )
