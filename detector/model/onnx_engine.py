"""The graph, as onnxruntime runs it: one step for a batch of streams.

One intra-op thread: at the batch sizes of a poll a second one gains nothing, and
onnxruntime lets go of the GIL, so the delivery and HTTP threads have the other core.
"""

from __future__ import annotations

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

#: What a graph can be at fault with; onnxruntime's classes have no ancestor of their
#: own.
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


class OnnxEngine:
    """Runs a bundle's graph. Raises BundleError where the graph does not keep the
    signature.
    """

    def __init__(self, bundle: Bundle) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(
                bundle.graph, options, providers=["CPUExecutionProvider"]
            )
        except _UNLOADABLE as error:
            raise BundleError(
                f"the graph of {bundle.path} can't be loaded ({error}): train the bundle again"
            ) from None
        _check_signature(bundle, self._session)

    def step(self, x: F32, clock: F32, state: F32) -> StepOutput:
        """x [B, F], clock [B, 3], state [B, S], float32 and contiguous."""
        return StepOutput(
            *self._session.run(OUTPUTS, {"x": x, "clock": clock, "state": state})
        )


def _check_signature(bundle: Bundle, session: ort.InferenceSession) -> None:
    features = len(bundle.manifest.features)
    size = bundle.manifest.state_size
    wanted = {
        "x": features,
        "clock": 3,
        "state": size,
        "score": None,
        "expected": features,
        "contribution": features,
        "next_state": size,
    }
    found = {a.name: a for a in [*session.get_inputs(), *session.get_outputs()]}
    for name, width in wanted.items():
        argument = found.get(name)
        shape = [] if argument is None else list(argument.shape[1:])
        if (
            argument is None
            or argument.type != "tensor(float)"
            or shape != ([] if width is None else [width])
        ):
            raise BundleError(
                f"the graph of {bundle.path} has no float32 {name} of shape [batch{'' if width is None else f', {width}'}]: "
                "it does not keep the step's signature; train the bundle again"
            )
