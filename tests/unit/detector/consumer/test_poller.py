"""A poll holds about as many points as the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.consumer.poller import Poller
from detector.errors import Transient
from detector.events import RawBatch, RecordBatch
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from tests.fakes import raw_batch
from tests.unit.detector.consumer.rig import P, Rig, ScriptedSource, poll


def five_hundred_points_each(raw: RawBatch) -> RecordBatch:
    """Two records without a key hold 500 points each; others hold one."""
    if raw.keys[0] is not None:
        return feature_decoder(FORMATS["json"], ("cpu", "mem")).decode(raw)
    return RecordBatch(
        P,
        ["a"] * 1000,
        np.repeat(np.arange(2), 500),
        np.arange(1000.0),
        np.zeros((1000, 2), np.float32),
        2,
    )


def test_records_with_many_points_are_polled_in_smaller_numbers(
    tmp_path: Path,
) -> None:
    rig = Rig(tmp_path, five_hundred_points_each)
    one = poll()[0]
    thousand = raw_batch([b"", b""])
    source = ScriptedSource([thousand], [one], [], [thousand, thousand], [one])
    for _ in range(6):
        rig.turn(source)
    assert source.polled == [500, 1, 500, 500, 1, 500]  # of 500 points a poll
    rig.close()


def test_records_that_can_not_be_decoded_now_are_read_again() -> None:
    schema_is_known = [False, True]

    def decode(raw: RawBatch) -> RecordBatch:
        if schema_is_known.pop(0):
            return five_hundred_points_each(raw)
        raise Transient("the schema registry can't be reached")

    fetched = poll()[0]
    source = ScriptedSource([fetched], [fetched])
    poller = Poller(decode, max_points=500)
    with pytest.raises(Transient):
        poller.poll(source)
    assert source.seeks == [(P, fetched.offsets[0])]
    assert len(poller.poll(source)) == 1


def test_a_batch_without_records_is_not_read_again() -> None:
    def decode(raw: RawBatch) -> RecordBatch:
        raise Transient("the schema registry can't be reached")

    fetched = poll()[0]
    markers = replace(fetched.take([]), end=7)
    source = ScriptedSource([markers, fetched])
    with pytest.raises(Transient):
        Poller(decode, max_points=500).poll(source)
    assert source.seeks == [(P, fetched.offsets[0])]
