"""walk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import F32
from detector.model.engine import clock_input
from detector.model.onnx_engine import OnnxEngine
from training.history.history import History


@dataclass(frozen=True, slots=True)
class Walk:
    """A graph's answers over history: scores of each stream float32 [n_i],
    contributions and expectations where asked for, last rows [N, S].
    """

    scores: tuple[F32, ...]
    expected: tuple[F32, ...]
    contribution: tuple[F32, ...]
    rows: F32


def walk(runtime: OnnxEngine, history: History, first: F32) -> Walk:
    """Step every stream through its whole history from its row of ``first`` [N, S], all
    streams side by side.
    """
    series = history.series
    width = len(history.features)
    state = first.copy()
    scores = [np.zeros(len(s), np.float32) for s in series]
    expected = [np.zeros((len(s), width), np.float32) for s in series]
    contribution = [np.zeros((len(s), width), np.float32) for s in series]
    # longest first: those still running are a prefix
    order = np.argsort([-len(s) for s in series], kind="stable")
    lengths = np.array([len(series[i]) for i in order])
    for t in range(int(lengths[0])):
        running = order[: int(np.searchsorted(-lengths, -t, side="left"))]
        times = np.array([series[i].times[t] for i in running])
        since = np.array(
            [
                series[i].times[t] - series[i].times[t - 1] if t else series[i].tick
                for i in running
            ]
        )
        step = runtime.step(
            np.stack([series[i].values[t] for i in running]),
            clock_input(since, history.wall(times)),
            state[running],
        )
        state[running] = step.next_state
        for k, i in enumerate(running):
            scores[i][t] = step.score[k]
            expected[i][t] = step.expected[k]
            contribution[i][t] = step.contribution[k]
    return Walk(tuple(scores), tuple(expected), tuple(contribution), state)
