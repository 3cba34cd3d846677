"""The LSTM cell in plain numpy: the specification of both cells of the autoencoder.

A law holds the exported graph to it (tests/laws/test_graph.py). The cell is the
standard one (Hochreiter & Schmidhuber 1997; forget gate by Gers et al. 2000):

    f_t = σ(W_f·[x_t, h_{t-1}] + b_f)    i_t = σ(W_i·[x_t, h_{t-1}] + b_i)
    C̃_t = tanh(W_C·[x_t, h_{t-1}] + b_C)    C_t = f_t ∘ C_{t-1} + i_t ∘ C̃_t
    o_t = σ(W_o·[x_t, h_{t-1}] + b_o)    h_t = o_t ∘ tanh(C_t)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import F64


@dataclass(frozen=True, slots=True)
class CellWeights:
    """The weights of one cell of H units with I inputs.

    Attributes:
        gates: float64 [4 H, I + H]: the rows of i, f, o and the candidate.
        bias: float64 [4 H], in the same order.
    """

    gates: F64
    bias: F64


def lstm_step(
    x: F64,
    h: F64,
    c: F64,
    weights: CellWeights,
) -> tuple[F64, F64]:
    """h and c [B, H] after one more input x [B, I]."""
    w_i, w_f, w_o, w_candidate = np.split(weights.gates, 4)
    b_i, b_f, b_o, b_candidate = np.split(weights.bias, 4)
    inputs = np.concatenate([x, h], axis=1)
    f = _sigmoid(inputs @ w_f.T + b_f)
    i = _sigmoid(inputs @ w_i.T + b_i)
    candidate = np.tanh(inputs @ w_candidate.T + b_candidate)
    c_next = f * c + i * candidate
    o = _sigmoid(inputs @ w_o.T + b_o)
    return o * np.tanh(c_next), c_next


def _sigmoid(x: F64) -> F64:
    return np.asarray(1 / (1 + np.exp(-x)))
