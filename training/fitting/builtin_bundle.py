"""``python -m training.fitting.builtin_bundle --out BUNDLE``: the bundle for any single
metric that the package carries, made from synthetic streams alone.

Theory of operation. The front of the graph learns what a metric's values mean from the
stream's own past (:mod:`training.models.univariate`). What is left to learn is common
to all metrics: what the channels' surprises look like together while nothing is wrong,
and how the tail of the score falls off. Both are learned here from the streams of
:mod:`training.synthetic.streams`, which have no faults.

Half of the streams fit the network. The other half are met as the daemon meets an
unseen stream, from a new stream's row. Incidents are counted in their later halves;
cold-start offsets are measured from the end of their warm-up on. A week is counted in
ticks of :data:`TICK` seconds, whatever the stream's own tick. The score ranks points:
in ten thousand of them, a metric that is read every second has as many rare ones as one
that is read every hour. This is the slowest tick at which machines are commonly
watched. The daemon raises the threshold of a stream that is read more often, and lowers
none.

The seed is the only input: the same seed on the same machine gives the same bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.errors import DetectorError
from detector.events import F32, SINGLE_METRIC
from detector.model.bundle import GRAPH, SCHEMA, STREAMS, Feature, Manifest
from detector.model.tail import TailFit
from training.fitting.calibrate import HeldOut, NewStreams, calibrate
from training.fitting.candidate import fit_model, open_graph
from training.fitting.export import archived, graph, staged, verify, write_files
from training.fitting.pretrained import NETWORK, packed
from training.fitting.provenance import provenance
from training.history.history import History
from training.models.walk import score_history
from training.settings import FitSettings
from training.synthetic.streams import POINTS, made_history

# Seconds between two points that a week is counted by, see above.
TICK = 300.0
# Made streams that fit, and as many others that calibrate: thirteen of each kind.
STREAMS_OF_EACH_HALF = 220
_PRINT_EVERY = 100  # steps
SETTINGS = FitSettings(
    name="builtin",
    version="1",
    seed=20_260_101,
    fit_share=0.8,
    validation_share=0.1,
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
        settings = SETTINGS.model_copy(update={"lean": chosen.lean})
        build_builtin(chosen.out, settings, STREAMS_OF_EACH_HALF)
    except DetectorError as error:
        print(f"training.fitting.builtin_bundle: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in chosen.out.iterdir())
    print(f"{chosen.out}: {size:,} bytes")
    return 0


def build_builtin(
    out: Path,
    settings: FitSettings,
    streams: int,
    points: tuple[int, int] = POINTS,
) -> None:
    """Make streams, fit, calibrate on others, export, verify.

    ``streams`` of each half, of ``points`` points at least and at most. ``out`` is
    complete or untouched. Raises TrainingError.
    """
    fleet = made_history(streams, settings.seed, points)
    strangers = made_history(streams, settings.seed + 1, points)
    with staged(out, force=True) as stage:
        model = fit_model(fleet, settings, _print_progress)
        assert model.fitted is not None
        data = graph(model.step)
        size = model.step.layout.size
        known = score_history(open_graph(data, fleet, size), fleet, model.first)
        initial = model.new_stream_row(known.rows)
        tail = _calibrate(strangers, data, initial, settings)
        files = {
            GRAPH: data,
            STREAMS: _streams(initial),
            NETWORK: archived(packed(model.fitted.network)),
        }
        origin = {
            **provenance(fleet, settings, model.fitted, None),
            "calibration_sha256": strangers.digest,
            "made_by": "python -m training.fitting.builtin_bundle",
        }
        manifest = _manifest(settings, size, tail, origin)
        write_files(stage, files, manifest)
        halves = {s.name: len(s) // 2 for s in fleet.series}
        verify(stage, model.step, fleet, halves)


def _calibrate(
    strangers: History,
    data: bytes,
    initial: F32,
    settings: FitSettings,
) -> TailFit:
    """Of streams that start from the ``initial`` row."""
    first = np.repeat(initial[None], len(strangers.series), axis=0)
    engine = open_graph(data, strangers, len(initial))
    scores = score_history(engine, strangers, first).scores
    later = [s[len(s) // 2 :] for s in scores]
    held_out = HeldOut(later, [TICK] * len(later))
    new = NewStreams(scores, settings.warm_up)
    return calibrate(held_out, settings.alerting, new).tail


def _streams(initial: F32) -> bytes:
    """``streams.npz`` of a bundle that knows no stream."""
    return archived(
        {
            "initial": initial,
            "names": np.zeros(0, np.str_),
            "rows": np.zeros((0, len(initial)), np.float32),
        }
    )


def _manifest(
    settings: FitSettings,
    size: int,
    tail: TailFit,
    origin: dict[str, object],
) -> Manifest:
    return Manifest(
        schema=SCHEMA,
        name=settings.name,
        version=settings.version,
        features=(Feature(SINGLE_METRIC),),
        tick_interval=TICK,
        state_size=size,
        warm_up=settings.warm_up,
        tail=tail,
        files={},
        provenance=origin,
        each_metric=True,
    )


def _print_progress(
    step: int,
    steps: int,
    loss: float,
    validation: float,
) -> None:
    if step % _PRINT_EVERY == 0:
        print(
            f"step {step} of {steps}: loss {loss:.4f}, validation {validation:.4f}",
            flush=True,
        )


if __name__ == "__main__":
    raise SystemExit(main())
