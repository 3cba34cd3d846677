"""What the network for single metrics is trained on: signed surprises of a history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from detector.events import F32
from training.history.history import History
from training.models.day_profile import slot_of
from training.models.surprise import LARGEST, Front
from training.models.walk import Wave, by_stream, walk


def channels(history: History, lengths: Sequence[int], front: Front) -> tuple[F32, ...]:
    """float32 [n_i, C F]: signed surprises of each stream's first n_i points, the
    network's input.
    """
    streams = [
        replace(s, times=s.times[:n], values=s.values[:n])
        for s, n in zip(history.series, lengths, strict=True)
    ]
    features = len(history.features)
    found = np.zeros((sum(lengths), front.inputs * features), np.float32)
    ticks = torch.tensor([s.tick for s in streams], dtype=torch.float32)

    def step(wave: Wave, state: F32) -> F32:
        signed, moved = _signed(
            front,
            wave,
            ticks[wave.streams],
            state,
        )
        found[wave.rows] = signed
        return moved

    row = np.tile(front.first().numpy(), features)
    first = np.repeat(row[None], len(streams), axis=0)
    with torch.no_grad():
        walk(streams, first, history.local_times, step)
    return by_stream(found, streams)


def _signed(
    front: Front,
    wave: Wave,
    ticks: Tensor,
    state: F32,
) -> tuple[F32, F32]:
    """Signed surprises [B, C F] of a wave, and the front's next states [B, size F]."""
    streams, features = wave.x.shape
    x = torch.from_numpy(wave.x.reshape(1, -1))
    clock = torch.from_numpy(wave.clock).repeat_interleave(features, dim=0)
    _, second, day = clock.T[:, None]
    rows = torch.from_numpy(state.reshape(streams * features, -1))
    columns = rows.T.contiguous()
    _, signed, *_, moved = front(
        torch.nan_to_num(x).clamp(-LARGEST, LARGEST),
        (~torch.isnan(x)).float(),
        slot_of(second),
        day,
        ticks.repeat_interleave(features)[None],
        columns,
    )
    by_channel = signed.reshape(front.inputs, streams, features)
    found = by_channel.transpose(0, 1).flatten(1)
    return found.numpy(), moved.T.reshape(streams, -1).numpy()
