"""``python -m training.fitting.builtin_bundle --out BUNDLE``: the bundle for any single
metric that the package carries, made from made streams alone.

Theory of operation. What a metric's values mean is learned by the front of the graph
from the stream's own past (:mod:`training.models.univariate`), so what is left to learn
is common to all metrics: what the channels' surprises look like together while nothing
is wrong, and how the tail of the score falls off. Both are learned here from the
streams of :mod:`training.synthetic.streams`, which bear no fault. Half of them fit the
network. The other half are met as the daemon meets a stream that nobody trained on,
from a young row: incidents are counted in their later halves, and what being young adds
from the end of the warm-up on. A week is counted in ticks of :data:`TICK` seconds,
whatever the stream's own: the score ranks points, so a metric that is read every second
has as many rare points in ten thousand as one that is read every hour. It is the
slowest tick at which machines are commonly watched, since the daemon raises the level
of a stream that is read more often and lowers none.

The seed is the only input: the same seed on the same machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.errors import DetectorError
from detector.events import SINGLE_METRIC
from detector.model.bundle import GRAPH, SCHEMA, STREAMS, Feature
from training.fitting.build_bundle import candidate, plain_runtime, provenance
from training.fitting.calibrate import calibrated
from training.fitting.export import archived, graph, staged, verify, write_files
from training.fitting.pretrained import NETWORK, packed
from training.history.history import History
from training.models.walk import walk
from training.settings import FitSettings
from training.synthetic.streams import POINTS, made_history

TICK = 300.0
STREAMS_OF_EACH_HALF = 220
SETTINGS = FitSettings(
    name="builtin", version="1", seed=20_260_101, fit_share=0.8, validation_share=0.1
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "training.fitting.builtin_bundle",
        description="make the bundle for any single metric, from made streams",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="the bundle's directory; one that is there is replaced",
    )
    parser.add_argument(
        "--lean",
        action="store_true",
        help="without the novelty of shape: half the state, three fifths of the cost a point",
    )
    chosen = parser.parse_args(arguments)
    try:
        universal(
            chosen.out,
            SETTINGS.model_copy(update={"lean": chosen.lean}),
            STREAMS_OF_EACH_HALF,
        )
    except DetectorError as error:
        print(f"training.fitting.builtin_bundle: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in chosen.out.iterdir())
    print(f"{chosen.out}: {size:,} bytes")
    return 0


def universal(
    out: Path, settings: FitSettings, streams: int, points: tuple[int, int] = POINTS
) -> None:
    """Make streams, fit, calibrate on others, export, verify; ``out`` is complete or
    untouched. Raises TrainingError.
    """
    fleet, strangers = (
        made_history(streams, settings.seed + k, points) for k in (0, 1)
    )
    with staged(out, force=True) as stage:
        made = candidate(fleet, settings, _say)
        data = graph(made.step)
        size = made.step.layout.size
        initial = made.initial(
            walk(plain_runtime(data, fleet, size), fleet, made.first).rows
        )
        young = np.repeat(initial[None], streams, axis=0)
        scores = walk(plain_runtime(data, strangers, size), strangers, young).scores
        known = [s[len(s) // 2 :] for s in scores]
        tail, _, _ = calibrated(
            known, [TICK] * streams, AlertTuning(), scores, settings.warm_up
        )
        archive = {
            "initial": initial,
            "names": np.zeros(0, np.str_),
            "rows": np.zeros((0, size), np.float32),
        }
        fields = {
            "schema": SCHEMA,
            "name": settings.name,
            "version": settings.version,
            "features": (Feature(SINGLE_METRIC),),
            "tick_interval": TICK,
            "state_size": size,
            "warm_up": settings.warm_up,
            "tail": tail,
            "provenance": {
                **provenance(fleet, settings, made, None),
                "calibration_sha256": strangers.digest,
                "made_by": "python -m training.fitting.builtin_bundle",
            },
            "each_metric": True,
        }
        assert made.fitted is not None
        write_files(
            stage,
            {
                GRAPH: data,
                STREAMS: archived(archive),
                NETWORK: archived(packed(made.fitted.network)),
            },
            fields,
        )
        verify(stage, made.step, fleet, _starts(fleet))


def _starts(history: History) -> dict[str, int]:
    return {s.name: len(s) // 2 for s in history.series}


def _say(step: int, steps: int, loss: float, validation: float) -> None:
    if step % 100 == 0:
        print(
            f"step {step} of {steps}: loss {loss:.4f}, validation {validation:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
