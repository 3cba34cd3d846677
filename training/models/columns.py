"""Rows of streams as columns and back, as the step for single metrics works on them.

With the streams on the last axis, every operation runs over contiguous memory however
few numbers a stream has.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Floats from which on a part of the row is wide, see :func:`columns`.
_WIDE = 32


def columns(rows: Tensor, widths: Sequence[int]) -> list[Tensor]:
    """The parts of rows [B, S], each [width, B].

    Wide parts are cut out before they are transposed. That spares a copy and is faster:
    the columns of rows of 512 floats compete for the same few places of the cache.
    """
    runs: list[list[int]] = [[]]
    for width in widths:
        if runs[-1] and max(width, runs[-1][-1]) > _WIDE:
            runs.append([])
        runs[-1].append(width)
    pieces = torch.split(rows, [sum(run) for run in runs], dim=1)
    parts: list[Tensor] = []
    for piece, run in zip(pieces, runs, strict=True):
        turned = piece.T
        parts += torch.split(turned, run) if len(run) > 1 else (turned,)
    return parts


def all_columns(rows: Tensor, widths: Sequence[int]) -> tuple[Tensor, ...]:
    """As :func:`columns`, all parts transposed at once: faster if most are wide.

    The reshape keeps onnxruntime's optimiser from moving the transpose to every part.
    """
    turned = rows.T.reshape(-1).reshape(rows.shape[1], -1)
    return torch.split(turned, list(widths))


def as_row(part: Tensor, times: int = 1) -> Tensor:
    """[F, B] as one row [1, F B], or [1, B] repeated ``times``."""
    if times == 1 and part.shape[0] == 1:
        return part
    return torch.cat([part] * times, dim=1).reshape(1, -1)


def as_rows(part: Tensor) -> Tensor:
    """[S, B] as [B, S].

    The second reshape is not idle. onnxruntime's optimiser moves a transpose through
    everything up to one that undoes it. All between would be done on [B, S], which is
    slow if S is small. It stops at a reshape.
    """
    if part.shape[0] == 1:
        return part.reshape(-1, 1)
    return part.reshape(-1).reshape(part.shape[0], -1).T


def total(part: Tensor) -> Tensor:
    """The sum over the first axis, which is kept."""
    return part if part.shape[0] == 1 else part.sum(dim=0, keepdim=True)
