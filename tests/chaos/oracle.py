"""What must come out: one pipeline that nothing happens to, over the same logs; and
what did come out, read from the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.events import F32, F64, Alert, Partition
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored
from detector.recovery.store import Store
from tests.fakes import PipelineRecorder, raw_batch

# fingerprint, startsAt, reason: what a receiver tells notifications apart by
Identity = tuple[str, str, str]
Log = Sequence[tuple[bytes, bytes]]  # key and value of each record of a partition
# of a stream: its partition, the time of its last point, its state
Row = tuple[Partition, float, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The notifications, and each stream's row."""

    identities: frozenset[Identity]
    states: Mapping[str, Row]


def undisturbed(bundle: Bundle, logs: Mapping[Partition, Log]) -> Outcome:
    recorder = PipelineRecorder()
    pipeline = build_pipeline(
        bundle, OnnxEngine(bundle), AlertTuning(), observer=recorder
    )
    decoder = feature_decoder(FORMATS["json"], bundle.feature_names)
    states = dict[str, Row]()
    for partition, log in logs.items():
        pipeline.assign(partition, Restored((), (), 0))
        keys, values = zip(*log, strict=True)
        raw = raw_batch(values, keys, partition=partition)
        pipeline.process([decoder.decode(raw)])
        pages = pipeline.checkpoints.capture(partition)
        assert pages is not None
        for rows, _, _ in pages.rows:
            states.update(_rows(partition, rows.names, rows.times, rows.states))
    return Outcome(frozenset(map(identity_of, recorder.alerts)), states)


def identity_of(alert: Alert) -> Identity:
    body = alert_body(alert, Labelling())
    return body.fingerprint, body.startsAt, alert.reason.label


def stored(
    bundle: Bundle, store: Store, partitions: Sequence[Partition]
) -> tuple[Mapping[Partition, int | None], Mapping[str, Row]]:
    """Where reading would start, and the streams, as a daemon that starts now would
    find them.
    """
    offsets: dict[Partition, int | None] = {}
    states: dict[str, Row] = {}
    for partition in partitions:
        found: Restored = restore(
            bundle.digest, *store.load(partition), bundle.manifest.state_size
        )
        offsets[partition] = found.offset
        for rows in found.pages:
            states.update(_rows(partition, rows.names, rows.times, rows.states))
    return offsets, states


def differing(found: Mapping[str, Row], expected: Outcome) -> list[str]:
    """Streams whose partition, last time or state is not that of the undisturbed run,
    within 1e-5.
    """
    wrong = sorted(found.keys() ^ expected.states.keys())
    for name in found.keys() & expected.states.keys():
        (partition, time, state) = found[name]
        (of, at, was) = expected.states[name]
        if (partition, time) != (of, at) or not np.allclose(
            state, was, atol=1e-5, rtol=0
        ):
            wrong.append(f"{name}: {found[name]} and not {expected.states[name]}")
    return wrong


def _rows(
    partition: Partition, names: Sequence[str], times: F64, states: F32
) -> dict[str, Row]:
    return {
        n: (partition, t, tuple(s))
        for n, t, s in zip(names, times.tolist(), states.tolist(), strict=True)
    }
