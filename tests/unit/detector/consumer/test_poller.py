"""A poll holds about as many points as the settings say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from detector.consumer.poller import Poller
from detector.errors import Transient
from detector.events import RawBatch, RecordBatch
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from tests.fakes import raw_batch
from tests.unit.detector.consumer.rig import P, Q, Rig, ScriptedSource, poll


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


def test_records_that_can_not_be_decoded_now_wait_and_others_go_on() -> None:
    def decode(raw: RawBatch) -> RecordBatch:
        if raw.partition == Q:
            return five_hundred_points_each(raw)
        raise Transient("the schema registry can't be reached")

    waits = poll()[0]
    goes_on = replace(waits, partition=Q)
    source = ScriptedSource([waits, goes_on])
    (polled,) = Poller(decode, max_points=500).poll(source)
    assert polled.partition == Q
    cause = "the schema registry can't be reached"
    assert source.holds == [(P, waits.offsets[0], cause)]
    assert source.seeks == []


def test_a_batch_without_records_needs_no_schema() -> None:
    decoder = feature_decoder(FORMATS["json"], ("cpu", "mem"))
    markers = replace(poll()[0].take([]), end=7)
    source = ScriptedSource([markers])
    (polled,) = Poller(decoder.decode, max_points=500).poll(source)
    assert (polled.next_offset, source.holds) == (7, [])
