"""What the benchmarks measure with: bundles of random weights at three sizes, and
pipelines around them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from detector.alerting.policy import AlertTuning
from detector.events import F32, Partition, RecordBatch
from detector.model.bundle import Bundle, Feature, Manifest
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from detector.pipeline.build import build_pipeline
from detector.pipeline.pipeline import Pipeline
from detector.recovery.snapshot import Restored
from training.fitting.export import graph
from training.models.multivariate import AutoencoderNetwork, AutoencoderStep

P = Partition("metrics", 0)


@dataclass(frozen=True, slots=True)
class Size:
    features: int
    hidden: int

    @property
    def label(self) -> str:
        return f"F {self.features} / H {self.hidden}"


SIZES = (Size(1, 32), Size(8, 64), Size(38, 48))


def network(size: Size) -> AutoencoderNetwork:
    torch.manual_seed(0)
    projection = (
        torch.eye(size.features) / size.features if size.features >= 4 else None
    )
    return AutoencoderNetwork(size.features, size.hidden, projection).eval()


def bundle(size: Size) -> Bundle:
    """Random weights, a level nothing reaches: what is measured is the quiet case,
    which is nearly all of a daemon's life.
    """
    step = AutoencoderStep(network(size), 1.75, 120).eval()
    row = np.zeros(step.layout.size, np.float32)
    row[step.layout.slices()["scale"]] = row[step.layout.slices()["energy"]] = 1
    features = tuple(Feature(f"f{j}") for j in range(size.features))
    tail = TailFit((50.0,), (1.0,), -1.0, 1.0)
    manifest = Manifest(
        1, "benchmark", "1", features, 60.0, step.layout.size, 120, tail, {}, {}
    )
    return Bundle(
        Path("benchmark"),
        "",
        manifest,
        graph(step),
        row,
        {},
        np.zeros((0, step.layout.size), np.float32),
    )


def pipeline(made: Bundle, partitions: int = 1, max_streams: int = 200_000) -> Pipeline:
    found = build_pipeline(
        made, OnnxEngine(made), AlertTuning(), max_streams=max_streams
    )
    for number in range(partitions):
        found.assign(Partition(P.topic, number), Restored((), (), 0))
    return found


def poll(size: Size, streams: int, tick: int) -> RecordBatch:
    """One point of each stream, as a poll brings it."""
    rng = np.random.default_rng(tick)
    values: F32 = rng.normal(size=(streams, size.features)).astype(np.float32)
    names = [f"host-{i}".encode() for i in range(streams)]
    offsets = np.arange(tick * streams, (tick + 1) * streams)
    return RecordBatch(
        P,
        names,
        offsets,
        np.full(streams, 60.0 * (tick + 1)),
        values,
        (tick + 1) * streams,
    )
