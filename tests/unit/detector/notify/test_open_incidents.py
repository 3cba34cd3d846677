"""While an incident lasts its receivers get it again, and at last its end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from detector.events import Reason
from detector.notify.outbox import Outbox
from detector.notify.routes import MAX_ALERTS_PER_POST, ReceiverNeeds, Route, Routing
from tests.fakes import FakeClock
from tests.unit.detector.notify.alerts import P, escalated, fired, resolved
from tests.unit.detector.notify.outboxes import an_outbox, delivered, streams

REPEATED = Route("hook", repeat_interval=100)


def test_an_incident_that_lasts_is_repeated_under_its_own_keys() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 0), fired("a"))
    (first,) = delivered(outbox)
    clock.now += 99
    assert delivered(outbox) == []
    clock.now += 1
    (second,) = delivered(outbox)
    clock.now += 100
    (third,) = delivered(outbox)
    assert first.alerts == second.alerts == third.alerts
    assert len({first.key, second.key, third.key}) == 3


def test_repeats_follow_other_routes_from_the_last_acknowledgement() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 0), fired("a"))
    delivered(outbox)
    outbox.reroute(Routing(("hook",), [replace(REPEATED, repeat_interval=30.0)]))
    clock.now += 30
    assert streams(delivered(outbox)) == [["a"]]
    outbox.reroute(Routing(("hook",), [replace(REPEATED, repeat_interval=500.0)]))
    clock.now += 499
    assert delivered(outbox) == []
    clock.now += 1
    assert streams(delivered(outbox)) == [["a"]]


def test_what_was_not_acknowledged_is_not_repeated() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 0), fired("a"))
    outbox.take("hook", 0)
    clock.now += 1000
    outbox.take("hook", 0)
    assert len(outbox) == 1


def test_an_end_is_sent_once_and_nothing_is_repeated_after_it() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    first = fired("a")
    outbox.put((P, 0), first)
    delivered(outbox)
    clock.now += 100
    # the repeat, which a dead receiver does not take
    in_flight = outbox.take("hook", 0)
    assert in_flight is not None
    outbox.put((P, 0), resolved(first))
    clock.now += 1000
    assert [p.alerts for p in delivered(outbox)] == [(resolved(first),)]
    assert outbox.opened((P, 0)) == ()


def test_repeats_go_on_after_a_restart_from_the_last_acknowledgement() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 2), fired("a"))
    delivered(outbox)
    assert outbox.take_changed_pages(P) == {2}
    clock.now += 60
    again = an_outbox(REPEATED, clock=clock)
    again.restore(P, (), [(2, incident) for incident in outbox.opened((P, 2))])
    assert delivered(again) == []
    clock.now += 40
    assert streams(delivered(again)) == [["a"]]
    again.put((P, 2), resolved(fired("a")))
    assert [p.alerts[0].firing for p in delivered(again)] == [False]
    assert again.opened((P, 2)) == ()


def test_an_end_goes_to_whoever_got_the_beginning_and_nobody_else() -> None:
    outbox = an_outbox(
        Route("desk", frozenset({"warning"})),
        Route("pager", frozenset({"critical"})),
        Route(""),
        receivers=("desk", "pager"),
    )
    worse = fired("a"), escalated(fired("a")), resolved(escalated(fired("a")))
    critical = escalated(fired("b")), resolved(escalated(fired("b")))
    for alert in (*worse, *critical):
        outbox.put((P, 0), alert)

    def reasons(receiver: str) -> list[tuple[str, Reason]]:
        posts = delivered(outbox, receiver)
        return [(post.alerts[0].stream, post.alerts[0].reason) for post in posts]

    assert reasons("desk") == [("a", Reason.FIRED), ("a", Reason.RECOVERED)]
    assert reasons("pager") == [
        ("a", Reason.ESCALATED),
        ("a", Reason.RECOVERED),
        ("b", Reason.ESCALATED),
        ("b", Reason.RECOVERED),
    ]


@pytest.mark.parametrize(
    "before",
    [Route("desk"), Route("desk", frozenset({"warning"}))],
    ids=["for any severity", "for one severity"],
)
@pytest.mark.parametrize("restarts", [False, True], ids=["reload", "restart"])
def test_an_end_goes_to_whoever_got_the_beginning_by_earlier_routes(
    before: Route, restarts: bool
) -> None:
    both = "desk", "pager"
    after = Routing(both, [Route("pager")])
    outbox = an_outbox(before, Route("pager"), receivers=both)
    outbox.put((P, 0), fired("a"))
    delivered(outbox, "desk")
    if restarts:
        stored = [(0, incident) for incident in outbox.opened((P, 0))]
        outbox = Outbox(after, FakeClock())
        outbox.restore(P, (), stored)
    else:
        outbox.reroute(after)
    outbox.put((P, 0), resolved(fired("a")))
    (post,) = delivered(outbox, "desk")
    assert post.alerts == (resolved(fired("a")),)
    assert outbox.opened((P, 0)) == ()


# -- receivers that need refreshes -----------------------------------------------------

REFRESHED = {"hook": ReceiverNeeds(refresh_interval=40, groups_alerts=True)}


def refreshing(clock: FakeClock, *routes: Route) -> Outbox:
    return Outbox(Routing(["hook"], routes, needs=REFRESHED), clock)


def test_what_fires_is_refreshed_in_one_post_until_it_ends() -> None:
    clock = FakeClock()
    outbox = refreshing(clock)
    for name in "ab":
        outbox.put((P, 0), fired(name))
    assert streams(delivered(outbox)) == [["a", "b"]]
    clock.now += 40
    assert streams(delivered(outbox)) == [["a", "b"]]
    outbox.put((P, 0), resolved(fired("a")))
    assert [post.alerts for post in delivered(outbox)] == [(resolved(fired("a")),)]
    clock.now += 40
    assert streams(delivered(outbox)) == [["b"]]


def test_a_repeat_interval_shorter_than_the_refresh_counts() -> None:
    clock = FakeClock()
    outbox = refreshing(clock, Route("hook", repeat_interval=10))
    outbox.put((P, 0), fired("a"))
    delivered(outbox)
    clock.now += 10
    assert streams(delivered(outbox)) == [["a"]]


def test_after_a_restart_what_was_escalated_off_its_route_is_refreshed() -> None:
    clock = FakeClock()
    routes = Route("hook", frozenset({"warning"})), Route("")
    outbox = refreshing(clock, *routes)
    outbox.put((P, 0), fired("a"))
    outbox.put((P, 0), escalated(fired("a")))
    delivered(outbox)
    again = refreshing(clock, *routes)
    again.restore(P, (), [(0, incident) for incident in outbox.opened((P, 0))])
    clock.now += 40
    assert streams(delivered(again)) == [["a"]]


def test_refreshes_of_a_whole_fleet_are_not_in_memory_at_once() -> None:
    clock = FakeClock()
    outbox = refreshing(clock)
    fleet = [f"s{number}" for number in range(10 * MAX_ALERTS_PER_POST)]
    for name in fleet:
        outbox.put((P, 0), fired(name))
    delivered(outbox)
    clock.now += 40
    attempt = outbox.take("hook", 0)
    assert attempt is not None
    assert len(outbox) <= 2 * MAX_ALERTS_PER_POST
    refreshed = [name for names in streams(delivered(outbox)) for name in names]
    assert sorted(refreshed) == sorted(fleet)
