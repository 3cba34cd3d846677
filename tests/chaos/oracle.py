"""What must come out, from a pipeline that nothing happens to; and what is in the
store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.events import Alert, Partition
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from detector.pipeline.build import build_pipeline
from detector.recovery.restore import restore
from detector.recovery.snapshot import Restored
from detector.recovery.store import Store, load_last
from detector.state.page_rows import PageRows
from tests.fakes import PipelineRecorder, raw_batch

#: Fingerprint, startsAt and reason: what identifies a notification to a receiver.
Identity = tuple[str, str, str]
#: Key and value of each record of a partition.
Log = Sequence[tuple[bytes, bytes]]
#: A stream's partition, the time of its last point, and its state.
Row = tuple[Partition, float, tuple[float, ...]]
TOLERANCE = 1e-5  # between states: batches of other sizes round differently


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
        data = pipeline.pages.capture(partition)
        assert data is not None
        for copy in data.changed:
            states.update(_rows(partition, copy.rows))
    return Outcome(frozenset(map(identity_of, recorder.alerts)), states)


def identity_of(alert: Alert) -> Identity:
    body = alert_body(alert, Labelling())
    return body.fingerprint, body.startsAt, alert.reason.label


def stored(
    bundle: Bundle, store: Store, partitions: Sequence[Partition]
) -> tuple[Mapping[Partition, int | None], Mapping[str, Row]]:
    """What a daemon that starts now finds: offsets to read from, and streams."""
    offsets: dict[Partition, int | None] = {}
    states: dict[str, Row] = {}
    for partition in partitions:
        head, pages = load_last(store, partition)
        found = restore(bundle.digest, head, pages, bundle.manifest.state_size)
        offsets[partition] = found.offset
        for rows in found.pages:
            states.update(_rows(partition, rows))
    return offsets, states


def differing(found: Mapping[str, Row], expected: Outcome) -> list[str]:
    """Streams whose partition, last time or state differs from the undisturbed run."""
    wrong = sorted(found.keys() ^ expected.states.keys())
    for name in found.keys() & expected.states.keys():
        if not _alike(found[name], expected.states[name]):
            wrong.append(f"{name}: {found[name]} and not {expected.states[name]}")
    return wrong


def _alike(one: Row, other: Row) -> bool:
    if one[:2] != other[:2]:
        return False
    return np.allclose(one[2], other[2], atol=TOLERANCE, rtol=0)


def _rows(partition: Partition, page: PageRows) -> dict[str, Row]:
    columns = zip(page.names, page.times.tolist(), page.states.tolist(), strict=True)
    return {name: (partition, time, tuple(state)) for name, time, state in columns}
