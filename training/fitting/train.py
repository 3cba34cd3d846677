"""The training loop: truncated backpropagation with carried state, never shuffled
windows.

Every stream's fit rows are cut into a few parallel segments; a pass walks them side by
side, a window at a time, and hands the state from window to window as the daemon will.
Loss: Huber on the reconstruction, a Student-t likelihood (4 degrees of freedom) and a
Huber forecast beside it, both dropped at export. Adam, one-cycle rate, early stop on
the validation rows. A fit that goes on from given weights keeps them unless it finds
better ones by those rows. Same data, settings, seed and start: same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss

from detector.events import F32
from training.history.history import Split
from training.models.multivariate import LINEAR_CLIP, NOISE, AutoencoderNetwork, Fitted
from training.settings import FitSettings

# rows stepped side by side, at most: cost follows the steps, not the fleet
PARALLEL = 128
_VALIDATED = 64
_EVERY = 100


Progress = Callable[[int, int, float, float], None]


def fit(
    scaled: list[F32],
    splits: list[Split],
    settings: FitSettings,
    hidden: int,
    progress: Progress,
    start: Mapping[str, Tensor] | None = None,
) -> Fitted:
    """``scaled`` are the network's inputs [n_i, F] for each stream; ``progress`` is
    told step, steps, loss and the last validation loss.

    ``start``: weights of a network of this shape to go on from; a fresh one begins with
    random ones.
    """
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True)
    # a second one gains little at these widths, and waits spinning where another
    # process has its core
    torch.set_num_threads(1)
    rng = np.random.default_rng(settings.seed)
    rows = [z[: p.fit] for z, p in zip(scaled, splits, strict=True)]
    held = [z[p.fit : p.calibration] for z, p in zip(scaled, splits, strict=True)][
        :_VALIDATED
    ]
    network = AutoencoderNetwork(scaled[0].shape[1], hidden, projection(rows))
    if start is not None:
        network.load_state_dict(start)
    before = None if start is None else _validate(network, held)
    optimiser = torch.optim.Adam(network.parameters(), settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps + 1, pct_start=0.1
    )
    curve: list[tuple[int, float, float]] = []
    best = np.inf if before is None else before
    since = 0
    validation = np.nan
    recent = 0.0
    weights = {k: v.clone() for k, v in network.state_dict().items()}
    for step, loss in enumerate(_losses(network, rows, settings, rng), 1):
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        recent += (float(loss.detach()) - recent) * max(0.02, 1 / step)
        if step % min(_EVERY, settings.steps) == 0 or step == settings.steps:
            validation = _validate(network, held)
            curve.append((step, recent, validation))
            since += 1
            if validation < best:
                best = validation
                since = 0
                weights = {k: v.clone() for k, v in network.state_dict().items()}
        progress(step, settings.steps, recent, validation)
        if step == settings.steps or since >= settings.patience:
            break
    network.load_state_dict(weights)
    return Fitted(network.eval(), tuple(curve), before)


def projection(rows: list[F32]) -> Tensor | None:
    """[F, F] projector on the fleet's top min(8, F // 4) right singular vectors; None
    where there are fewer than four features.
    """
    width = rows[0].shape[1]
    if width < 4:
        return None
    thinned = [z[:: max(1, len(rows) // 2)] for z in rows]
    pooled = np.clip(np.concatenate(thinned), -LINEAR_CLIP, LINEAR_CLIP).astype(
        np.float64
    )
    _, vectors = np.linalg.eigh(pooled.T @ pooled)
    top = vectors[:, -min(8, width // 4) :]
    return torch.tensor((top @ top.T).astype(np.float32))


def _losses(
    network: AutoencoderNetwork,
    rows: list[F32],
    settings: FitSettings,
    rng: np.random.Generator,
) -> Iterator[Tensor]:
    """One loss a window, pass after pass, with a random offset each pass."""
    while True:
        chosen = rng.permutation(len(rows))[:PARALLEL]
        z, mask = _segments([rows[i] for i in chosen], settings.window)
        length = z.shape[1]
        state = None
        start = (
            int(rng.integers(0, settings.window)) if length > 2 * settings.window else 0
        )
        for t in range(start, length - 1, settings.window):
            window = slice(t, t + settings.window)
            ahead = slice(t + 1, t + settings.window + 1)
            reconstruction, forecast, log_scale, state = network(
                z[:, window], state, NOISE
            )
            state = tuple(tuple(part.detach() for part in cell) for cell in state)
            yield _loss(
                reconstruction,
                forecast,
                log_scale,
                z[:, window],
                z[:, ahead],
                mask[:, window],
                mask[:, ahead],
            )


def _segments(rows: list[F32], window: int) -> tuple[Tensor, Tensor]:
    """[B, T, F] and mask [B, T, 1]: each stream in up to 8 segments side by side,
    padded to the longest.
    """
    pieces = int(
        np.clip(
            min(map(len, rows)) // (8 * window),
            1,
            max(1, min(8, PARALLEL // len(rows))),
        )
    )
    parts = [
        z[k * (len(z) // pieces) : (k + 1) * (len(z) // pieces)]
        for z in rows
        for k in range(pieces)
    ]
    longest = max(map(len, parts))
    z = torch.zeros(len(parts), longest, rows[0].shape[1])
    mask = torch.zeros(len(parts), longest, 1)
    for i, part in enumerate(parts):
        z[i, : len(part)] = torch.from_numpy(part)
        mask[i, : len(part)] = 1
    return z, mask


def _loss(
    reconstruction: Tensor,
    forecast: Tensor,
    log_scale: Tensor,
    z: Tensor,
    ahead: Tensor,
    mask: Tensor,
    mask_ahead: Tensor,
) -> Tensor:
    target = z.clamp(-LINEAR_CLIP, LINEAR_CLIP)
    log_scale = log_scale.clamp(-4, 4)
    student = (
        2.5 * torch.log1p(((target - reconstruction) * torch.exp(-log_scale)) ** 2 / 4)
        + log_scale
    )
    own = (
        huber_loss(reconstruction, target, reduction="none", delta=2.0) + 0.1 * student
    ) * mask
    known = ahead.shape[1]
    later = (
        huber_loss(
            forecast[:, :known],
            ahead.clamp(-LINEAR_CLIP, LINEAR_CLIP),
            reduction="none",
            delta=2.0,
        )
        * mask_ahead
    )
    width = z.shape[2]
    return own.sum() / (mask.sum() * width + 1) + 0.5 * later.sum() / (
        mask_ahead.sum() * width + 1
    )


def _validate(network: AutoencoderNetwork, held: list[F32]) -> float:
    """Mean Huber loss of the reconstruction over the validation rows, each stream from
    a fresh state.
    """
    longest = max(map(len, held))
    z = torch.zeros(len(held), longest, held[0].shape[1])
    mask = torch.zeros(len(held), longest, 1)
    for i, part in enumerate(held):
        z[i, : len(part)] = torch.from_numpy(part)
        mask[i, : len(part)] = 1
    network.eval()
    with torch.no_grad():
        reconstruction = network(z)[0]
    network.train()
    loss = (
        huber_loss(
            reconstruction,
            z.clamp(-LINEAR_CLIP, LINEAR_CLIP),
            reduction="none",
            delta=2.0,
        )
        * mask
    )
    return float(loss.sum() / (mask.sum() * z.shape[2]))
