"""The engine that runs a bundle's graph in onnxruntime.

One intra-op thread: at the batch sizes of a poll, a second one gains nothing.
onnxruntime releases the GIL, so the delivery and HTTP threads have the other cores.
"""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    RuntimeException,
)
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as Unsupported

from detector.errors import BundleError
from detector.events import F32
from detector.model.bundle import Bundle
from detector.model.engine import StepOutput

# What onnxruntime raises for a graph that it can't load; they have no common ancestor.
_UNLOADABLE = (
    Fail,
    InvalidArgument,
    InvalidGraph,
    InvalidProtobuf,
    Unsupported,
    RuntimeException,
)
INPUTS = ("x", "clock", "state")
OUTPUTS = ("score", "expected", "contribution", "next_state")
_CLOCK_WIDTH = 3


class OnnxEngine:
    """Runs a bundle's graph on the CPU."""

    def __init__(self, bundle: Bundle) -> None:
        """Raises BundleError if the graph can't be loaded or has another signature."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3  # errors only
        try:
            self._session = ort.InferenceSession(
                bundle.graph, options, providers=["CPUExecutionProvider"]
            )
        except _UNLOADABLE as error:
            raise BundleError(
                f"the graph of {bundle.path} can't be loaded ({error}): "
                "train the bundle again"
            ) from None
        _check_signature(bundle, self._session)

    def try_out(self, bundle: Bundle, rows: int) -> None:
        """Run the graph once on so many streams without values, so that its memory is
        there when it is needed.

        Raises BundleError if it can't run, or gives other shapes than it says.
        """
        manifest = bundle.manifest
        x = np.full((rows, len(manifest.features)), np.nan, np.float32)
        clock = np.zeros((rows, _CLOCK_WIDTH), np.float32)
        states = np.tile(bundle.initial, (rows, 1))
        try:
            found = self.step(x, clock, states)
        except _UNLOADABLE as error:
            raise BundleError(
                f"the graph of {bundle.path} can't be run ({error}): "
                "train the bundle again"
            ) from None
        if found.score.shape != (rows,) or found.next_state.shape != states.shape:
            raise BundleError(
                f"the graph of {bundle.path} gives results of other shapes than a step:"
                " train the bundle again"
            )

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        """``x`` [B, F], ``clock`` [B, 3], ``state`` [B, S], contiguous."""
        given = {"x": x, "clock": clock, "state": state}
        return StepOutput(*self._session.run(OUTPUTS, given))


def _check_signature(bundle: Bundle, session: ort.InferenceSession) -> None:
    """Compare inputs and outputs with the manifest. Raises BundleError."""
    features = len(bundle.manifest.features)
    size = bundle.manifest.state_size
    shapes = {
        "x": [features],
        "clock": [_CLOCK_WIDTH],
        "state": [size],
        "score": [],
        "expected": [features],
        "contribution": [features],
        "next_state": [size],
    }
    arguments = [*session.get_inputs(), *session.get_outputs()]
    found = {argument.name: argument for argument in arguments}
    for name, shape in shapes.items():
        argument = found.get(name)
        is_right = (
            argument is not None
            and argument.type == "tensor(float)"
            and list(argument.shape[1:]) == shape
        )
        if not is_right:
            wanted = ", ".join(["batch", *map(str, shape)])
            raise BundleError(
                f"the graph of {bundle.path} has no float32 {name} of shape [{wanted}]: "
                "it has another signature than a step; train the bundle again"
            )
