"""A step module as an engine, without an export.

An export takes seconds. A baseline that is only compared needs none: a law holds its
graph to the same reference (tests/laws/test_baselines.py).
"""

from __future__ import annotations

import torch
from torch import nn

from detector.events import F32
from detector.model.engine import StepOutput


class ModuleEngine:
    """Runs one step of a module for a batch of streams. Implements Engine."""

    def __init__(self, step: nn.Module) -> None:
        self._step = step.eval()

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        """As :meth:`detector.model.engine.Engine.step`."""
        inputs = map(torch.from_numpy, (x, clock, state))
        with torch.inference_mode():
            outputs = self._step(*inputs)
        score, expected, contribution, next_state = (out.numpy() for out in outputs)
        return StepOutput(score, expected, contribution, next_state)
