"""Another bundle keeps what is the stream's own, and leaves no incident open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from detector.errors import ResetCause
from detector.events import (
    SINGLE_METRIC,
    OpenIncident,
    PendingNotification,
    Phase,
    Reason,
    Severity,
)
from detector.recovery.restore import restore
from detector.recovery.snapshot import (
    SCHEMA,
    Head,
    Page,
    Restored,
    Stamp,
    WarmUp,
    to_page,
)
from detector.recovery.takeover import Takeover, after_warm_up
from detector.state.counters import fresh_counters
from detector.state.decisions import KNOWN_STEPS, fresh_decisions
from detector.state.initial_state import InitialStates
from detector.state.page_rows import PageRows
from tests.unit.detector.notify.alerts import fired
from tests.unit.detector.recovery.pages import WRITER, P

OLD_WIDTH = 3
WIDTH = 5
FEATURES = (SINGLE_METRIC,)
UNKNOWN = np.arange(WIDTH, dtype=np.float32)
TRAINED = np.full((1, WIDTH), 7, np.float32)
FIRED = fired("a/cpu", P)


def takeover(known: Mapping[str, int] | None = None) -> Takeover:
    initial = InitialStates(
        unknown=UNKNOWN,
        rows=known or {},
        trained=TRAINED,
        penalties=np.array([0.5], np.float32),
        first=TRAINED,
        rewind_before=np.array([-np.inf]),
    )
    return Takeover(FEATURES, initial)


def page(number: int = 0, bundle: str = "old", width: int = OLD_WIDTH) -> Page:
    """Two streams, the first in an incident that a receiver knows of."""
    decisions = fresh_decisions(2)
    decisions["steps"] = 500
    decisions["tick"] = 60
    decisions["incidents"] = 3
    decisions["observed_seconds"] = 9_000
    decisions["stream_offset"] = 1.5
    decisions["evidence"] = 400
    decisions["alarm_penalty"] = 2
    decisions["phase"] = (Phase.FIRING, Phase.PENDING)
    decisions["severity"] = (2, 0)
    decisions["onset"] = 60
    rows = PageRows(
        number,
        100,
        names=("a/cpu", "b/cpu"),
        states=np.ones((2, width), np.float32),
        decisions=decisions,
        times=np.array([600.0, 660.0]),
        labels=({"rack": "1"}, {}),
        counters=fresh_counters((2, 1)),
    )
    opened = OpenIncident(
        "a/cpu", FIRED.starts_at, msgspec.msgpack.encode(FIRED), {"pager": 5.0}
    )
    waiting = PendingNotification(FIRED, 3, ("hook",))
    return to_page(bundle, P, rows, WRITER, (waiting,), (opened,))


def restored(features: tuple[str, ...], *pages: Page, known: str = "") -> Restored:
    stamps = {page.number: Stamp(100, WRITER) for page in pages}
    head = Head(SCHEMA, "old", P, 100, stamps, features=features)
    rows = {known: 0} if known else {}
    return restore("new", head, pages, WIDTH, takeover(rows))


def test_streams_of_the_same_features_go_on_with_fresh_states() -> None:
    found = restored(FEATURES, page())
    (rows,) = found.pages
    assert rows.names == ("a/cpu", "b/cpu")
    assert rows.states.tolist() == [UNKNOWN.tolist()] * 2
    assert rows.times.tolist() == [600, 660]
    assert rows.labels == ({"rack": "1"}, {})
    assert len(rows.counters) == 2
    for name, value in (("tick", 60), ("incidents", 3), ("observed_seconds", 9_000)):
        assert rows.decisions[name].tolist() == [value] * 2
    for name in ("steps", "stream_offset", "evidence", "alarm_penalty"):
        assert rows.decisions[name].tolist() == [0, 0]
    assert found.offset == 100
    assert found.resets == {ResetCause.TAKEN_OVER: 2}


def test_an_open_incident_goes_on_and_a_pending_one_does_not() -> None:
    found = restored(FEATURES, page())
    (rows,) = found.pages
    assert rows.decisions["phase"].tolist() == [Phase.FIRING, Phase.WARMING]
    assert rows.decisions["severity"].tolist() == [2, 0]
    assert [incident.stream for _, incident in found.open] == ["a/cpu"]
    assert [pending.order for _, pending in found.alerts] == [3]


def test_a_stream_that_the_new_bundle_knows_starts_as_training_left_it() -> None:
    (rows,) = restored(FEATURES, page(), known="b/cpu").pages
    assert rows.states[1].tolist() == TRAINED[0].tolist()
    assert rows.decisions["steps"].tolist() == [0, KNOWN_STEPS]
    assert rows.decisions["alarm_penalty"].tolist() == [0, 0.5]


def test_all_pages_are_written_again_under_the_new_bundle() -> None:
    found = restored(FEATURES, page(0), page(1))
    assert (found.stamps, found.cold) == ({}, frozenset())


def test_a_page_that_the_new_bundle_wrote_already_stays_as_it_is() -> None:
    """Its first checkpoint was cut off before the head."""
    own = page(1, "new", WIDTH)
    own = msgspec.structs.replace(own, names=("c/cpu", "d/cpu"), open=())
    found = restored(FEATURES, page(0), own)
    assert found.pages[0].states[0].tolist() == UNKNOWN.tolist()
    assert found.pages[1].states[0].tolist() == [1] * WIDTH
    assert found.pages[1].decisions["steps"].tolist() == [500, 500]


def test_pages_that_an_older_bundle_left_behind_are_not_taken_over() -> None:
    older = msgspec.structs.replace(page(1, "older"), names=("c", "d"))
    stamps = {0: Stamp(100, WRITER)}
    for features in (FEATURES, ()):
        head = Head(SCHEMA, "old", P, 100, stamps, features=features)
        found = restore("new", head, [page(0), older], WIDTH, takeover())
        assert found.resets == {ResetCause.TAKEN_OVER: 2}
        assert [rows.names for rows in found.pages] == [("a/cpu", "b/cpu")]
        assert len(found.open) == 1
        assert [number for number, _ in found.alerts] == [0, 1]


def test_a_stream_in_two_pages_ends_once_as_the_later_one_has_it() -> None:
    earlier = msgspec.structs.replace(page(0), stamp=Stamp(90, WRITER), alerts=())
    later = msgspec.structs.replace(page(1), alerts=())
    (end,) = restored(("cpu", "mem"), earlier, later).alerts
    assert end[1].alert.reason is Reason.REPLACED
    calm = fresh_decisions(2)
    calm["phase"] = Phase.OK
    closed = msgspec.structs.replace(later, decisions=calm.tobytes(), open=())
    assert restored(("cpu", "mem"), earlier, closed).alerts == ()


def test_with_other_features_each_incident_ends_where_it_was_told() -> None:
    found = restored(("cpu", "mem"), page())
    assert found.resets == {ResetCause.OTHER_BUNDLE: 2}
    assert found.open == ()
    beginning, end = [pending for _, pending in found.alerts]
    assert beginning.alert == FIRED
    assert end.order > beginning.order
    assert end.pending_receivers == ("pager",)
    ended = replace(FIRED, reason=Reason.REPLACED, ends_at=600.0, at=600.0)
    assert end.alert == ended
    assert found.ended == (ended,)


def test_nothing_ends_where_streams_go_on() -> None:
    assert restored(FEATURES, page()).ended == ()


def test_an_incident_whose_receivers_nobody_kept_ends_where_routes_lead() -> None:
    stored = msgspec.structs.replace(page(), open=())
    found = restored(("cpu", "mem"), stored)
    _, end = [pending for _, pending in found.alerts]
    assert end.pending_receivers == ()
    alert = end.alert
    assert (alert.stream, alert.starts_at, alert.ends_at) == ("a/cpu", 60, 600)
    assert (alert.severity, alert.reason) == (Severity.CRITICAL, Reason.REPLACED)


@pytest.mark.parametrize(
    ("names", "cause"),
    [
        (("a/cpu", "b/cpu"), ResetCause.TAKEN_OVER),
        (("a", "b"), ResetCause.OTHER_BUNDLE),
    ],
)
def test_names_tell_the_kind_of_a_bundle_that_did_not_say_its_features(
    names: tuple[str, ...], cause: ResetCause
) -> None:
    stored = msgspec.structs.replace(page(), names=names)
    assert restored((), stored).resets == {cause: 2}


def own_rows(*names: str) -> PageRows:
    """Streams of the bundle that comes back, 500 points old."""
    count = len(names)
    decisions = fresh_decisions(count, known=True)
    decisions["steps"] = 500
    states = np.ones((count, WIDTH), np.float32)
    return PageRows(0, 100, names, states, decisions, np.full(count, 600.0))


def test_an_idle_stream_that_had_points_since_goes_on_from_what_it_warmed_up_to() -> (
    None
):
    idle = own_rows("moved", "unmoved")
    warm_up = WarmUp((replace(idle, offset=50),), 50, is_whole=True)
    restored = Restored((idle,), (), 100, cold=frozenset({0}), warm_up=warm_up)
    warmed = own_rows("moved", "unmoved")
    warmed.decisions["steps"][0] = 501
    warmed.times[0] = 660
    warmed.states[0] = 2
    found = after_warm_up(restored, [warmed], takeover(), 100)
    cold, hot = found.pages
    assert found.cold == {0}
    assert (cold.number, list(cold.names)) == (0, ["unmoved"])
    assert (hot.number, list(hot.names)) == (1, ["moved"])
    assert (hot.times.tolist(), hot.states[0, 0]) == ([660], 2)
