"""Bundles of random weights at three sizes, pipelines around them, and polls."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from detector.alerting.policy import AlertTuning
from detector.events import F32, F64, Partition, RecordBatch
from detector.model.bundle import Bundle, Feature, Manifest
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from detector.pipeline.build import build_pipeline
from detector.pipeline.pipeline import Pipeline
from detector.recovery.snapshot import Restored
from detector.state.limits import TableLimits
from training.fitting.export import graph
from training.models.autoencoder import AutoencoderNetwork
from training.models.multivariate import AutoencoderStep, blank_rows

P = Partition("metrics", 0)
TICK = 60.0  # seconds
WARM_UP = 120  # points
# Nearly all of a daemon's life is quiet: nothing reaches this threshold.
UNREACHED = TailFit((50.0,), (1.0,), -1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Size:
    """Features of a bundle, and the width of its LSTM cells."""

    features: int
    hidden: int

    @property
    def label(self) -> str:
        return f"F {self.features} / H {self.hidden}"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"f{j}" for j in range(self.features))


SIZES = (Size(1, 32), Size(8, 64), Size(38, 48))


def network(size: Size) -> AutoencoderNetwork:
    torch.manual_seed(0)
    width = size.features
    projection = torch.eye(width) / width if width >= 4 else None
    return AutoencoderNetwork(width, size.hidden, projection).eval()


def bundle(size: Size) -> Bundle:
    step = AutoencoderStep(network(size), 1.75, WARM_UP).eval()
    row = blank_rows(1, step.layout)[0]
    return bundle_of(size.names, graph(step), row)


def bundle_of(features: tuple[str, ...], graph_bytes: bytes, initial: F32) -> Bundle:
    """A graph as a bundle that training has seen no stream of."""
    manifest = Manifest(
        schema=1,
        name="benchmark",
        version="1",
        features=tuple(map(Feature, features)),
        tick_interval=TICK,
        state_size=len(initial),
        warm_up=WARM_UP,
        tail=UNREACHED,
        files={},
        provenance={},
    )
    return Bundle(
        Path("benchmark"),
        "",
        manifest,
        graph_bytes,
        initial,
        {},
        np.zeros((0, len(initial)), np.float32),
    )


def pipeline(made: Bundle, partitions: int = 1, max_streams: int = 200_000) -> Pipeline:
    limits = TableLimits(max_streams, max_newcomers=max_streams)
    found = build_pipeline(made, OnnxEngine(made), AlertTuning(), limits=limits)
    for number in range(partitions):
        found.assign(Partition(P.topic, number), Restored((), (), 0))
    return found


def poll(size: Size, streams: int, tick: int) -> RecordBatch:
    """One point of each stream, as a poll brings it."""
    rng = np.random.default_rng(tick)
    values = rng.normal(size=(streams, size.features))
    return poll_of([b"host-%d" % i for i in range(streams)], values, tick)


def poll_of(
    names: list[bytes], values: F64, tick: int, partition: Partition = P
) -> RecordBatch:
    """These values [n, F], one of each stream, at a tick."""
    first = tick * len(names)
    end = first + len(names)
    return RecordBatch(
        partition=partition,
        names=names,
        offsets=np.arange(first, end),
        times=np.full(len(names), TICK * (tick + 1)),
        values=values,
        next_offset=end,
    )
