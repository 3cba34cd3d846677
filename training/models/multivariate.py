"""The step for two metrics and more; no I/O.

Theory of operation. The network is that of :mod:`training.models.autoencoder`; a linear
branch is beside it. What both fail to reconstruct (:mod:`training.models.residuals`) is
weighed in two ways, as energy and as surprise, and the greater counts
(:mod:`training.models.evidence`). To the surprise is added that of metrics that rest
(:mod:`training.models.rests`). While the score says that the stream is in an incident,
nothing is learned (:mod:`training.models.latch`). When the values are back, the score
is back within a few points. A stream that training has not seen learns its own scaling
(:mod:`training.models.running_scale`).

Everything is computed transposed, [F, B] for B streams: onnxruntime vectorises a factor
for each stream along the last axis, and parts of a row are contiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from detector.events import F32
from training.history.history import History
from training.models.autoencoder import (
    AutoencoderNetwork,
    Cell,
    affine,
    reconstruction_only,
)
from training.models.columns import all_columns, as_rows
from training.models.evidence import (
    FLAG_WEIGHT,
    SCALES,
    Point,
    Tails,
    Units,
    follow_tails,
    follow_units,
    in_own_units,
    levels,
    rank,
    shares,
    sums,
    usual_errors,
    weigh,
)
from training.models.latch import HOT, Evidence, Latch, is_loss, is_still, turn
from training.models.layout import StateLayout
from training.models.residuals import Followed, Residual, Residuals, follow
from training.models.rests import Rests, Runs, as_one_piece, follow_runs
from training.models.running_scale import (
    LARGEST,
    Scaling,
    learn_scaling,
    learning_points,
)

# Width of both LSTMs.
HIDDEN_MANY = 48
# Scales to which a value is clipped for the network.
CLIP = 30.0
# Scores for each unit of the stream's own past. Hysteresis and severity are steps in
# scores; two make a step about as rare as one for single metrics.
SCORE = 2.0
# Score of a point by itself, in own units, under which a hot stream counts as back, and
# the gain with which its smoothed errors then follow.
_BACK = 1.3
_FAST = 0.7
# Share of what is beyond HOT that the score of a state has lost once it is accepted. A
# state is news when it begins, so its begin ranks highest.
_FADE = 0.5
# Scales from which an accepted shift moves the center; the offset takes the rest.
_SHIFT = 1.0
# Least scale after it, as a share of the shift: that of :mod:`training.history.scales`,
# because the shift is part of the metric's range from then on.
_OF_SHIFT = 0.1
# Slope of a sign that is exact beyond a millionth of a billionth.
_STEEP = 1e15
# Age in points that the fleet's medians count as in a stream that is new.
_PRIOR_POINTS = 50.0
# What a stream of a history begins with: little is usual until it has been seen.
_BLANK = {
    "energy": 1.0,
    "q90": -3.0,
    "width": 2.0,
    "own_median": 0.2,
    "own_width": 0.8,
}


def state_layout(features: int, hidden: int, branches: int) -> StateLayout:
    """The row of a stream of F features, with H hidden units and 1 or 2 branches."""
    return StateLayout(
        features,
        (
            ("encoder_h", hidden),
            ("encoder_c", hidden),
            ("decoder_h", hidden),
            ("decoder_c", hidden),
            ("center", features),
            ("scale", features),
            ("seen", features),  # points
            ("bias", branches * features),
            ("energy", branches * features),
            ("q90", features),
            ("width", features),
            ("run", features),  # points
            ("longest", features),
            ("runs", features),  # ln
            ("own_median", 2),  # of energy and surprise
            ("own_width", 2),
            ("hot", 1),
            ("gone", 1),
            ("fresh", 1),  # points
            ("last", features),  # previous value
            ("errors", 2 * len(SCALES)),  # smoothed: energy, then surprise
            ("age", 1),  # steps
        ),
    )


class _Row(NamedTuple):
    """The parts of the streams' rows, in their order, transposed."""

    cells: tuple[Tensor, ...]
    scaling: Scaling
    followed: Followed
    tails: Tails
    runs: Runs
    units: Units
    latch: Latch
    last: Tensor
    errors: Tensor
    age: Tensor

    @classmethod
    def of(cls, state: Tensor, layout: StateLayout) -> _Row:
        """Of rows [B, S]."""
        parts = all_columns(state, layout.widths)
        return cls(
            parts[:4],
            Scaling(*parts[4:7]),
            Followed(*parts[7:9]),
            Tails(*parts[9:11]),
            Runs(*parts[11:14]),
            Units(*parts[14:16]),
            Latch(*parts[16:19]),
            *parts[19:],
        )

    def as_state(self) -> Tensor:
        """[B, S]."""
        parts = [part for group in self[:-3] for part in group]
        return as_rows(torch.cat([*parts, *self[-3:]], dim=0))


class _Values(NamedTuple):
    """A point's values [F, B], the previous ones where missing; 1 where present; and
    seconds since the previous point [1, B].
    """

    x: Tensor
    present: Tensor
    tick: Tensor


class AutoencoderStep(nn.Module):
    """ONE step over a batch of streams: what the daemon runs."""

    def __init__(
        self, network: AutoencoderNetwork, power: float, learning: int
    ) -> None:
        """``learning``: points over which a new stream learns its scaling at most."""
        super().__init__()
        features = network.features
        projection = network.get_buffer("projection")
        self.residuals = Residuals(features, power, projection)
        branches = self.residuals.branches
        self.layout = state_layout(features, network.hidden, branches)
        self.learning = float(learning)
        self.encoder = Cell(network.encoder)
        self.decoder = Cell(network.decoder)
        self.bottleneck = network.bottleneck
        self.output = reconstruction_only(network)
        gains = [[2 / (k + 1)] for k in SCALES]
        self.register_buffer("gains", torch.tensor(gains * 2))

    def forward(
        self, x: Tensor, clock: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x [B, F] raw, NaN missing; clock [B, 3]; state [B, S] -> score [B], expected
        [B, F], contribution [B, F], next_state [B, S].
        """
        before = _Row.of(state, self.layout)
        values = _values(x, clock, before.last)
        scaling = self._learn_scaling(values, before)
        far = (values.x - scaling.center) / scaling.scale
        z = far.clamp(-CLIP, CLIP) * values.present
        cells, reconstruction = self._reconstruct(z, before.cells)
        expected = scaling.center + scaling.scale * reconstruction
        residual = self.residuals(z, reconstruction, values.present, before.followed)
        rests = _follow_rests(values, before)
        point = self._weigh(residual, rests, values, before)
        by_itself = _by_itself(point, before.units)
        errors = self._smooth(point, by_itself, before)
        level = levels(*sums(errors))
        energy, surprise = in_own_units(level, before.units)
        score = torch.maximum(energy, surprise)
        share = shares(point, energy, surprise)
        evidence = Evidence(
            score,
            values.tick * point.is_seen,
            is_still(errors),
            is_loss(values.x, scaling, rests.decades, share),
        )
        latch, accepted = turn(evidence, before.age, before.latch)
        calm = (1.0 - latch.hot) * (1.0 - accepted)
        row = _Row(
            _held(cells, before.cells, latch.hot * (by_itself > HOT).float()),
            self._move(scaling, values.x - expected, residual, accepted),
            follow(residual, before.followed, latch, calm),
            follow_tails(point.rank, values.present * calm, latch, before.tails),
            rests.after(accepted),
            follow_units(level, calm * point.is_seen, latch, before.units),
            latch,
            values.x,
            _restarted(errors, accepted, before.units),
            before.age + 1.0,
        )
        beyond = (score - HOT).clamp(min=0.0)
        faded = score - (_FADE * latch.gone) * beyond
        final = (SCORE * faded[0]).clamp(min=0.0)
        return final, as_rows(expected), as_rows(share), row.as_state()

    def _learn_scaling(self, values: _Values, before: _Row) -> Scaling:
        enough = learning_points(values.tick, self.learning)
        enough = enough * (1.0 - before.latch.hot)
        learns = values.present * (before.scaling.seen < enough).float()
        moves = (values.x != before.last).float()
        return learn_scaling(values.x, learns, moves, before.scaling)

    def _reconstruct(
        self, z: Tensor, before: tuple[Tensor, ...]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """The cells' state after z [F, B], and the reconstruction."""
        encoder_h, encoder_c, decoder_h, decoder_c = before
        encoded = self.encoder(_asinh(z), encoder_h, encoder_c, dim=0)
        code = torch.tanh(affine(self.bottleneck, encoded[0], 0))
        decoded = self.decoder(code, decoder_h, decoder_c, dim=0)
        return (*encoded, *decoded), affine(self.output, decoded[0], 0)

    def _weigh(
        self, residual: Residual, rests: Rests, values: _Values, before: _Row
    ) -> Point:
        ranks = rank(self.residuals.together(residual.square), before.tails)
        error = self.residuals.error(residual, before.followed)
        weight = rests.habit.clamp(min=FLAG_WEIGHT) * values.present
        resting = as_one_piece(rests.decades)
        return weigh(error, ranks, weight, resting, values.present)

    def _smooth(self, point: Point, by_itself: Tensor, before: _Row) -> Tensor:
        """The smoothed errors [4, B] after a point.

        Those of a hot stream follow fast once a point by itself is usual.
        """
        is_back = (by_itself < _BACK).float()
        fast = _FAST * before.latch.hot * is_back
        gains = torch.maximum(self.get_buffer("gains"), fast) * point.is_seen
        energy, surprise = torch.split(point.means, 1, dim=0)
        means = torch.cat([energy, energy, surprise, surprise], dim=0)
        return before.errors + gains * (means - before.errors)

    def _move(
        self,
        scaling: Scaling,
        surplus: Tensor,
        residual: Residual,
        accepted: Tensor,
    ) -> Scaling:
        """The scaling after a state is accepted: what it shifted is shifted.

        ``surplus`` [F, B] is the values less the expected ones.
        """
        own = residual.square[: self.layout.features]
        moved = accepted * (own > _SHIFT**2).float()
        shift = moved * surplus
        scale = torch.maximum(scaling.scale, _OF_SHIFT * shift.abs())
        return Scaling(scaling.center + shift, scale, scaling.seen)


def _asinh(z: Tensor) -> Tensor:
    """As the network's own, with a clipped multiple in place of Sign, which onnxruntime
    does not vectorise.
    """
    sign = (z * _STEEP).clamp(-1.0, 1.0)
    return sign * torch.log(z.abs() + torch.sqrt(z * z + 1.0))


def _values(x: Tensor, clock: Tensor, last: Tensor) -> _Values:
    """Of x [B, F] and clock [B, 3]."""
    turned = x.T
    missing = torch.isnan(turned)
    filled = torch.where(missing, last, turned.clamp(-LARGEST, LARGEST))
    return _Values(filled, 1.0 - missing.float(), clock[:, :1].T)


def _follow_rests(values: _Values, before: _Row) -> Rests:
    return follow_runs(
        values.x == before.last,
        values.present,
        1.0 - before.latch.hot,
        before.age,
        before.runs,
    )


def _by_itself(point: Point, units: Units) -> Tensor:
    """What the score [1, B] would be, in own units, if all points were like this."""
    alone = levels(*torch.split(len(SCALES) * point.means, 1, dim=0))
    return torch.maximum(*in_own_units(alone, units))


def _held(
    cells: tuple[Tensor, ...], before: tuple[Tensor, ...], held: Tensor
) -> tuple[Tensor, ...]:
    """The cells' state [H, B] each; the one before where ``held`` [1, B] is 1.

    So the network is as it was once an outage is over. (Held for as long as a stream is
    hot, it is stale when a long incident of moderate size ends.)
    """
    pairs = zip(cells, before, strict=True)
    return tuple(own + held * (old - own) for own, old in pairs)


def _restarted(errors: Tensor, accepted: Tensor, units: Units) -> Tensor:
    """The smoothed errors [4, B], usual ones where a state is accepted."""
    energy, surprise = usual_errors(units)
    usual = torch.cat([energy, energy, surprise, surprise], dim=0) / len(SCALES)
    return errors + accepted * (usual - errors)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A network with the weights of its best validation, and how it got there.

    Attributes:
        curve: gradient step, loss and validation loss, as they were recorded.
        start: the validation loss of the weights that the fit went on from, if any.
    """

    network: AutoencoderNetwork
    curve: tuple[tuple[int, float, float], ...]
    start: float | None = None


def blank_rows(streams: int, layout: StateLayout) -> F32:
    """float32 [N, S] of streams of which nothing but the unit is known: center 0 and
    scale 1.
    """
    rows = np.zeros((streams, layout.size), np.float32)
    at = layout.slices()
    rows[:, at["scale"]] = 1.0
    for part, value in _BLANK.items():
        rows[:, at[part]] = value
    return rows


def first_rows(history: History, layout: StateLayout, learning: int) -> F32:
    """float32 [N, S]: each stream before its first point.

    Its scaling is that of its fit rows, frozen.
    """
    rows = blank_rows(len(history.series), layout)
    at = layout.slices()
    for row, series in zip(rows, history.series, strict=True):
        row[at["center"]] = series.center
        row[at["scale"]] = series.scale
    rows[:, at["seen"]] = learning
    return rows


def new_stream_row(history: History, layout: StateLayout, last: F32) -> F32:
    """float32 [S] of a stream that training has not seen.

    It has the fleet's median scaling, on a scale of logarithms, and from the fleet's
    ``last`` rows [N, S] its medians of what streams follow.
    """
    at = layout.slices()
    row: F32 = blank_rows(1, layout)[0]
    row[at["center"]] = np.median([s.center for s in history.series], axis=0)
    scales = np.log([s.scale for s in history.series])
    row[at["scale"]] = np.exp(np.median(scales, axis=0))
    for part in (*_BLANK, "errors"):
        row[at[part]] = np.median(last[:, at[part]], axis=0)
    row[at["fresh"]] = _PRIOR_POINTS
    return row
