"""Once the store is lost, incidents that receivers know of go on or end."""

from __future__ import annotations

import base64
import zlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from detector.events import Alert, Phase, Reason, Severity
from detector.recovery.note import (
    LONGEST,
    NOBODY_WAITS,
    Told,
    ToldIncident,
    of_note,
    to_note,
)
from detector.recovery.snapshot import Restored
from detector.recovery.told import take_up
from detector.state.decisions import fresh_decisions
from detector.state.page_rows import PageRows
from tests.unit.detector.recovery.pages import WIDTH, P

INCIDENT = ToldIncident("a", 60.0, 2)


def warmed(phase: Phase) -> Restored:
    """Two streams, the first in this phase."""
    decisions = fresh_decisions(2)
    decisions["phase"] = (phase, Phase.OK)
    decisions["onset"] = 120.0
    decisions["peak"] = 7.0
    decisions["peak_margin"] = 3.0
    rows = PageRows(
        0,
        500,
        ("a", "b"),
        np.zeros((2, WIDTH), np.float32),
        decisions,
        np.array([600.0, 600.0]),
        ({"rack": "1"}, {}),
    )
    return Restored((rows,), (), 500)


def test_what_fits_into_a_note_comes_back() -> None:
    told = Told((INCIDENT, ToldIncident("b", 1.5, 1)), 3)
    assert of_note(to_note(told)) == told
    assert to_note(NOBODY_WAITS) == ""


def test_a_note_is_cut_to_its_length_and_says_what_is_missing() -> None:
    rng = np.random.default_rng(4)
    names = [rng.bytes(20).hex() for _ in range(300)]
    told = Told(tuple(ToldIncident(name, 1e9 + i, 2) for i, name in enumerate(names)))
    note = to_note(told)
    assert len(note) <= LONGEST
    found = of_note(note)
    assert found.incidents == told.incidents[: len(found.incidents)]
    assert 50 < len(found.incidents) < 300
    assert len(found) == 300


@pytest.mark.parametrize("note", ["", "of another program", "sw1:", "sw1:\u00e9"])
def test_a_note_that_is_not_ours_says_nothing(note: str) -> None:
    assert of_note(note) == NOBODY_WAITS


def test_a_note_that_unpacks_to_too_much_says_nothing() -> None:
    body = msgspec.msgpack.encode(Told((ToldIncident("a" * (4 << 20), 1.0, 2),)))
    bomb = "sw1:" + base64.b85encode(zlib.compress(body, 9)).decode()
    assert of_note(bomb) == NOBODY_WAITS


@pytest.mark.parametrize(
    "told",
    [
        Told((ToldIncident("a", 60.0, 99),)),
        Told((ToldIncident("a", 60.0, 0),)),
        Told((ToldIncident("a", np.inf, 2),)),
        Told((ToldIncident("a", np.nan, 2),)),
        Told((ToldIncident("a", -1.0, 2),)),
        Told((ToldIncident("a", 1e12, 2),)),
        Told((INCIDENT, INCIDENT)),
        Told((INCIDENT,), -5),
        Told((INCIDENT,), 1 << 63),
    ],
)
def test_a_note_of_what_can_not_be_says_nothing(told: Told) -> None:
    body = msgspec.msgpack.encode(told)
    note = "sw1:" + base64.b85encode(zlib.compress(body, 9)).decode()
    assert of_note(note) == NOBODY_WAITS


def test_an_incident_that_the_stream_is_in_goes_on_as_it_was_told() -> None:
    after = take_up(warmed(Phase.FIRING), P, Told((INCIDENT,)), WIDTH)
    assert (after.found, after.ended) == (1, 0)
    (rows,) = after.restored.pages
    assert rows.decisions["onset"].tolist() == [60.0, 120.0]
    assert rows.decisions["severity"].tolist() == [2, 0]
    ((number, pending),) = after.restored.alerts
    assert number == 0
    assert pending.alert.firing
    assert pending.alert.starts_at == 60.0
    assert pending.alert.tags == {"rack": "1"}
    ((_, incident),) = after.restored.open
    assert (incident.stream, incident.starts_at) == ("a", 60.0)
    assert msgspec.msgpack.decode(incident.alert, type=Alert) == pending.alert
    assert after.restored.ended == ()


def test_an_incident_that_the_stream_is_not_in_ends() -> None:
    after = take_up(warmed(Phase.OK), P, Told((INCIDENT,)), WIDTH)
    assert (after.found, after.ended) == (0, 1)
    ((_, pending),) = after.restored.alerts
    assert after.restored.ended == (pending.alert,)
    alert = pending.alert
    assert (alert.stream, alert.starts_at, alert.ends_at) == ("a", 60.0, 600.0)
    assert (alert.reason, alert.severity) == (Reason.LOST, Severity.CRITICAL)
    assert after.restored.open == ()


def test_an_incident_of_a_stream_that_is_gone_ends() -> None:
    told = Told((replace_stream(INCIDENT, "gone"),))
    for restored in (warmed(Phase.FIRING), Restored((), (), 500)):
        after = take_up(restored, P, told, WIDTH)
        ((number, pending),) = after.restored.alerts
        assert after.restored.pages[number].number == 0
        assert pending.alert.ends_at == 60.0
        assert pending.pending_receivers == ()


def replace_stream(incident: ToldIncident, stream: str) -> ToldIncident:
    return msgspec.structs.replace(incident, stream=stream)


def test_without_a_told_incident_nothing_changes() -> None:
    restored = replace(warmed(Phase.OK), offset=7)
    assert take_up(restored, P, NOBODY_WAITS, WIDTH).restored is restored
