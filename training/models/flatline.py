"""How long a metric has stood still, held against how long it ever did: a flat line
that was never flat.

Theory of operation. A value that is exactly the one before it goes on with a run; any
other begins a new one. Were a stream's runs alike, the next would outlast all K that
were seen with a probability of 1 / (K + 1) (exchangeability), so with n the run that
goes on and L the longest of the past,

    r = max(0, n - L) / (L + 30)        surprise = 1.5 log10(K + 1) min(1, r / 2)

in decimal places, as those of :mod:`training.models.surprise`: nothing until the
longest run is outlasted, half as much again as the record's own rarity once it is
outlasted threefold, and then no more, since a state that lasts is not stranger by the
hour. The 30 points are what a collector that repeats its last reading for a while may
take. A metric that changes at each point is surprising within an hour of minutes, one
that stands still for hours only after many of them, and a constant never. L fades
within some fifty thousand points, so that one long outage doesn't hide the next for
ever.
"""

from __future__ import annotations

import torch
from torch import Tensor

FADES = 2e-5  # of the longest run, a point
COUNTED = 1e6
PATIENCE = 30.0  # points
# numbers of state: the run, the longest one before it, how many runs there were
WIDTH = 3


def stillness(
    x: Tensor, last: Tensor, run: Tensor, longest: Tensor, runs: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Surprise that x stands still where ``last`` was the value before it, and run,
    longest and runs after it; all of one shape.
    """
    still = (x == last).float()
    longest = (1.0 - FADES) * torch.where(
        still > 0, longest, torch.maximum(longest, run)
    )
    run = still * (run + 1.0)
    runs = (runs + 1.0 - still).clamp(max=COUNTED)
    further = (run - longest).clamp(min=0.0) / (longest + PATIENCE)
    return (
        1.5 * torch.log10(runs + 1.0) * (0.5 * further).clamp(max=1.0),
        run,
        longest,
        runs,
    )
