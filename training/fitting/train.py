"""The training loop: truncated backpropagation with carried state, never shuffled
windows.

Theory of operation. Every stream's fit rows are cut into a few parallel segments. A
pass goes through them side by side, one window at a time, and hands the state from
window to window as the daemon will. The loss is Huber on the reconstruction. Beside it
are a Student-t likelihood (4 degrees of freedom) and a Huber forecast; the export drops
both. The optimiser is Adam (Kingma & Ba 2015) with a one-cycle rate (Smith
& Topin 2019) and an early stop on the validation rows. A fit that goes on from given
weights keeps them unless it finds better ones by those rows. Same data, settings, seed
and start: same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from detector.events import F32
from training.history.history import Split
from training.models.autoencoder import LINEAR_CLIP, NOISE, AutoencoderNetwork
from training.models.multivariate import Fitted
from training.settings import FitSettings

# Rows that are stepped side by side at most: cost follows the steps, not the fleet.
PARALLEL = 128
# Segments that a stream is cut into at most, and windows that a segment has at least.
_SEGMENTS = 8
_WINDOWS = 8
# Streams that are validated on at most, and gradient steps between two validations.
_VALIDATED = 64
_VALIDATE_EVERY = 100
# Share of the steps in which the learning rate rises.
_RISING = 0.1
# Least gain of the running mean of the loss: a memory of 50 steps.
_LOSS_GAIN = 0.02
# Norm to which gradients are clipped (Pascanu et al. 2013).
_GRADIENT_NORM = 1.0
# Scales from which the Huber loss is linear.
_HUBER = 2.0
# Weights of the likelihood and of the forecast beside the reconstruction, and the
# bounds of the log scale.
_LIKELIHOOD_WEIGHT = 0.1
_FORECAST_WEIGHT = 0.5
_LOG_SCALE = 4
# Components of the linear branch at most, and features for each of them.
_COMPONENTS = 8
_FEATURES_PER_COMPONENT = 4

#: Receives the step, the number of steps, the loss and the last validation loss.
ReportLoss = Callable[[int, int, float, float], None]
Weights = Mapping[str, Tensor]


def fit(
    scaled: Sequence[F32],
    splits: Sequence[Split],
    settings: FitSettings,
    hidden: int,
    report_progress: ReportLoss,
    start: Weights | None = None,
) -> Fitted:
    """Fit a network to ``scaled``, its inputs float32 [n_i, F] for each stream.

    ``start``: weights of a network of this shape to go on from; otherwise it begins
    with random ones.
    """
    rng = _seeded(settings.seed)
    parts = list(zip(scaled, splits, strict=True))
    rows = [z[: part.fit] for z, part in parts]
    held = [z[part.fit : part.calibration] for z, part in parts[:_VALIDATED]]
    network = AutoencoderNetwork(scaled[0].shape[1], hidden, projection(rows))
    if start is not None:
        network.load_state_dict(start)
    before = None if start is None else _validate(network, held)
    best = _Best(network, np.inf if before is None else before)
    curve: list[tuple[int, float, float]] = []
    validation = np.nan
    recent = 0.0
    losses = _losses(network, rows, settings, rng)
    for step, loss in enumerate(_optimise(network, losses, settings), 1):
        recent += (loss - recent) * max(_LOSS_GAIN, 1 / step)
        ends = step == settings.steps
        if step % min(_VALIDATE_EVERY, settings.steps) == 0 or ends:
            validation = _validate(network, held)
            curve.append((step, recent, validation))
            best.compare(network, validation)
        report_progress(step, settings.steps, recent, validation)
        if ends or best.beaten >= settings.patience:
            break
    network.load_state_dict(best.weights)
    return Fitted(network.eval(), tuple(curve), before)


def _seeded(seed: int) -> np.random.Generator:
    """torch and numpy, so that the same seed gives the same weights."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    # a second thread gains little at these widths, and waits spinning if another
    # process has its core
    torch.set_num_threads(1)
    return np.random.default_rng(seed)


class _Best:
    """The weights of the lowest validation loss, and for how long none beat them."""

    def __init__(self, network: AutoencoderNetwork, validation: float) -> None:
        self.validation = validation
        self.weights = _copied(network)
        self.beaten = 0

    def compare(self, network: AutoencoderNetwork, validation: float) -> None:
        self.beaten += 1
        if validation < self.validation:
            self.validation = validation
            self.weights = _copied(network)
            self.beaten = 0


def _copied(network: AutoencoderNetwork) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in network.state_dict().items()}


def _optimise(
    network: AutoencoderNetwork, losses: Iterator[Tensor], settings: FitSettings
) -> Iterator[float]:
    """One gradient step for each loss; yields its value."""
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser,
        settings.learning_rate,
        total_steps=settings.steps + 1,
        pct_start=_RISING,
    )
    for loss in losses:
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), _GRADIENT_NORM)
        optimiser.step()
        schedule.step()
        yield float(loss.detach())


def projection(rows: Sequence[F32]) -> Tensor | None:
    """[F, F] projector on the fleet's leading right singular vectors; None for fewer
    than four features.
    """
    width = rows[0].shape[1]
    if width < _FEATURES_PER_COMPONENT:
        return None
    every = max(1, len(rows) // 2)
    thinned = np.concatenate([z[::every] for z in rows])
    pooled = np.clip(thinned, -LINEAR_CLIP, LINEAR_CLIP).astype(np.float64)
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    top = vectors[:, -min(_COMPONENTS, width // _FEATURES_PER_COMPONENT) :]
    return torch.tensor((top @ top.T).astype(np.float32))


class _Window(NamedTuple):
    """Inputs z [B, T, F] and mask [B, T, 1] of a window, and of the points one later.

    The window at the end of the rows has one point fewer ahead.
    """

    z: Tensor
    mask: Tensor
    z_ahead: Tensor
    mask_ahead: Tensor


def _losses(
    network: AutoencoderNetwork,
    rows: Sequence[F32],
    settings: FitSettings,
    rng: np.random.Generator,
) -> Iterator[Tensor]:
    """One loss for each window, pass after pass, with a random offset each pass."""
    window = settings.window
    while True:
        chosen = rng.permutation(len(rows))[:PARALLEL]
        z, mask = _segments([rows[i] for i in chosen], window)
        length = z.shape[1]
        state = None
        start = int(rng.integers(0, window)) if length > 2 * window else 0
        for t in range(start, length - 1, window):
            now = slice(t, t + window)
            ahead = slice(t + 1, t + window + 1)
            reconstruction, forecast, log_scale, cells = network(
                z[:, now], state, NOISE
            )
            state = tuple(tuple(part.detach() for part in cell) for cell in cells)
            inputs = _Window(
                z[:, now],
                mask[:, now],
                z[:, ahead],
                mask[:, ahead],
            )
            yield _loss(reconstruction, forecast, log_scale, inputs)


def _segments(rows: Sequence[F32], window: int) -> tuple[Tensor, Tensor]:
    """[B, T, F] and mask [B, T, 1]: each stream in a few segments side by side, padded
    to the longest.
    """
    long_enough = min(map(len, rows)) // (_WINDOWS * window)
    most = max(1, min(_SEGMENTS, PARALLEL // len(rows)))
    pieces = int(np.clip(long_enough, 1, most))
    parts = []
    for z in rows:
        length = len(z) // pieces
        parts += [z[k * length : (k + 1) * length] for k in range(pieces)]
    return _padded(parts)


def _padded(parts: Sequence[F32]) -> tuple[Tensor, Tensor]:
    """[B, T, F] of parts [n_i, F], and mask [B, T, 1] of their rows."""
    longest = max(map(len, parts))
    z = torch.zeros(len(parts), longest, parts[0].shape[1])
    mask = torch.zeros(len(parts), longest, 1)
    for i, part in enumerate(parts):
        z[i, : len(part)] = torch.from_numpy(part)
        mask[i, : len(part)] = 1
    return z, mask


def _loss(
    reconstruction: Tensor,
    forecast: Tensor,
    log_scale: Tensor,
    inputs: _Window,
) -> Tensor:
    """Of the network's outputs [B, T, F] for a window."""
    z, mask, ahead, mask_ahead = inputs
    width = z.shape[2]
    target = z.clamp(-LINEAR_CLIP, LINEAR_CLIP)
    log_scale = log_scale.clamp(-_LOG_SCALE, _LOG_SCALE)
    deviation = (target - reconstruction) * torch.exp(-log_scale)
    student = 2.5 * torch.log1p(deviation**2 / 4) + log_scale
    huber = huber_loss(reconstruction, target, reduction="none", delta=_HUBER)
    own = (huber + _LIKELIHOOD_WEIGHT * student) * mask
    later = huber_loss(
        forecast[:, : ahead.shape[1]],
        ahead.clamp(-LINEAR_CLIP, LINEAR_CLIP),
        reduction="none",
        delta=_HUBER,
    )
    later = later * mask_ahead
    now_mean = own.sum() / (mask.sum() * width + 1)
    later_mean = later.sum() / (mask_ahead.sum() * width + 1)
    return now_mean + _FORECAST_WEIGHT * later_mean


def _validate(network: AutoencoderNetwork, held: Sequence[F32]) -> float:
    """Mean Huber loss of the reconstruction over the validation rows, each stream from
    a fresh state.
    """
    z, mask = _padded(held)
    network.eval()
    with torch.no_grad():
        reconstruction = network(z)[0]
    network.train()
    target = z.clamp(-LINEAR_CLIP, LINEAR_CLIP)
    loss = huber_loss(reconstruction, target, reduction="none", delta=_HUBER)
    return float((loss * mask).sum() / (mask.sum() * z.shape[2]))
