"""What settings say of metrics counts more than what formats say."""

from __future__ import annotations

import numpy as np
import pytest

from detector.events import MetricKind
from detector.ingest.decoder import feature_decoder, metric_decoder
from detector.ingest.format import FormatKind, UnknownFields
from detector.ingest.formats.registry import FORMATS
from detector.ingest.messages import Messages
from detector.ingest.row_builder import RowBuilder
from detector.ingest.rows import NamedValues, Rows
from detector.ingest.stated_kinds import StatedKinds, with_kinds
from tests.fakes import raw_batch

STATED = StatedKinds(counters=("bytes_.*", "ops"), gauges=("bytes_free",))
RECORD = b'{"timestamp": 60, "stream": "a", "bytes_in": 1, "bytes_free": 2, "load": 3}'


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("bytes_in", MetricKind.COUNTER),
        ("bytes_free", MetricKind.GAUGE),
        ("ops", MetricKind.COUNTER),
        ("iops", MetricKind.UNKNOWN),
        ("ops_now", MetricKind.UNKNOWN),
    ],
)
def test_a_pattern_is_for_the_whole_name(metric: str, kind: MetricKind) -> None:
    assert STATED.kind_of(metric) is kind


def test_each_metric_of_a_record_has_its_kind() -> None:
    decoder = metric_decoder(with_kinds(FORMATS["json"], STATED))
    batch = decoder.decode(raw_batch([RECORD]))
    assert batch.kinds is not None
    kinds = dict(zip(batch.names, batch.kinds[:, 0].tolist(), strict=True))
    assert kinds == {"a/bytes_in": 2, "a/bytes_free": 1, "a/load": 0}


def test_each_feature_of_a_bundle_has_its_kind() -> None:
    kind = with_kinds(FORMATS["json"], STATED)
    decoder = feature_decoder(kind, ("load", "bytes_in"))
    batch = decoder.decode(raw_batch([RECORD, RECORD]))
    assert batch.kinds is not None
    assert batch.kinds.tolist() == [[0, 2], [0, 2]]


class _Deltas:
    """A format whose every message has a delta and a gauge. Implements Format."""

    def rows(self, messages: Messages) -> Rows[NamedValues]:
        builder = RowBuilder()
        kinds = [MetricKind.DELTA, MetricKind.GAUGE]
        for i in range(len(messages.raw)):
            builder.add(i, "a", 60.0, {"bytes_in": 1.0, "load": 2.0}, kinds=kinds)
        return builder.rows()


def test_settings_count_more_than_the_format() -> None:
    def all_numbers(unknown: UnknownFields) -> _Deltas:
        return _Deltas()

    kind = with_kinds(FormatKind(all_numbers), STATED)
    batch = metric_decoder(kind).decode(raw_batch([RECORD]))
    np.testing.assert_array_equal(batch.kinds, [[2], [1]])


def test_without_a_setting_a_format_stays_as_it_is() -> None:
    assert with_kinds(FORMATS["json"], StatedKinds()) is FORMATS["json"]
