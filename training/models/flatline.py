"""How long a metric has not changed, held against how long it ever did not: a flatline.

Theory of operation. A value that is exactly the one before it goes on with a run; any
other value begins a new run. If a stream's runs were alike, the next one would outlast
all K past ones with probability 1 / (K + 1) (exchangeability). So, with n the present
run and L the longest run of the past,

    r = max(0, n - L) / (L + 30)        surprise = 1.5 log10(K + 1) min(1, r / 2)

in decimal places, as in :mod:`training.models.sketch`. The surprise is 0 until the
longest run is outlasted. Once the longest run is outlasted threefold, it reaches one
and a half times the record's own rarity. It stays there, because a state that lasts
does not get stranger by the hour. A metric that changes at each point is surprising
within an hour of minutes, one that often rests only after many hours, a constant never.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Share of the longest run that is forgotten at each point: within some fifty thousand
# points, one long outage no longer hides the next.
FADES = 2e-5
# Runs that are counted at most: a surprise then reaches nine decimal places at most.
MAX_RUNS = 1e6
# Points for which a collector may repeat its last reading.
PATIENCE = 30.0
# Floats of state: the run, the longest one before it, how many runs there were.
WIDTH = 3


def flatline_surprise(
    x: Tensor,
    last: Tensor,
    run: Tensor,
    longest: Tensor,
    runs: Tensor,
    gate: Tensor | float = 1.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Surprise that x is still ``last``, and run, longest and runs after x.

    ``gate`` is 0 where a run that ends is not learned as the longest.

    All tensors have one shape; ``run`` and ``longest`` are in points.
    """
    same = (x == last).float()
    ended = torch.where(same > 0, longest, torch.maximum(longest, run * gate))
    longest = (1.0 - FADES) * ended
    run = same * (run + 1.0)
    runs = (runs + 1.0 - same).clamp(max=MAX_RUNS)
    further = (run - longest).clamp(min=0.0) / (longest + PATIENCE)
    rarity = 1.5 * torch.log10(runs + 1.0)
    return rarity * (0.5 * further).clamp(max=1.0), run, longest, runs
