"""Between the loop and the delivery threads: order, once, one receiver independent of
another, and gone only when it is settled.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import Alert, Partition, Reason, Severity
from detector.notify.outbox import Outbox
from detector.notify.payload import OutgoingPost
from detector.notify.routes import MAX_ALERTS_PER_POST, Route, Routing
from tests.fakes import FakeClock

P = Partition("metrics", 0)
Q = Partition("metrics", 1)
NO_CONDITIONS = Route("hook", group_by=("alertname",))


def alert(stream: str, partition: Partition = P, starts: float = 60.0) -> Alert:
    return Alert(
        partition,
        stream,
        Severity.WARNING,
        Reason.FIRED,
        starts,
        None,
        starts,
        7.0,
        6.0,
    )


def resolved(fired: Alert) -> Alert:
    return replace(
        fired, reason=Reason.RECOVERED, ends_at=fired.at + 60, at=fired.at + 60
    )


def escalated(fired: Alert) -> Alert:
    return replace(
        fired, reason=Reason.ESCALATED, severity=Severity.CRITICAL, at=fired.at + 30
    )


def an_outbox(
    *routes: Route,
    receivers: tuple[str, ...] = ("hook",),
    clock: FakeClock | None = None,
) -> Outbox:
    return Outbox(Routing(receivers, routes), clock or FakeClock())


def delivered(outbox: Outbox, receiver: str = "hook") -> list[OutgoingPost]:
    """Take and settle until nothing is due."""
    posts = []
    while (parcel := outbox.take(receiver, 0)) is not None:
        posts.append(parcel.post)
        outbox.settle(parcel)
    return posts


def streams(posts: list[OutgoingPost]) -> list[list[str]]:
    return [[a.stream for a in post.alerts] for post in posts]


def test_notifications_leave_in_the_order_they_came_each_in_a_post_of_its_own() -> None:
    outbox = an_outbox()
    for name in "cab":
        outbox.put((P, 0), alert(name))
    assert streams(delivered(outbox)) == [["c"], ["a"], ["b"]]


def test_a_notification_stays_until_it_is_settled() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), alert("a"))
    first = outbox.take("hook", 0)
    second = outbox.take("hook", 0)
    assert first == second
    assert first is not None
    outbox.settle(first)
    assert outbox.take("hook", 0) is None
    assert len(outbox) == 0


def test_without_receivers_nothing_waits() -> None:
    outbox = Outbox()
    outbox.put((P, 0), alert("a"))
    assert (len(outbox), outbox.waiting((P, 0))) == (0, ())


def test_each_page_holds_its_own_notifications() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), alert("a"))
    outbox.put((P, 1), alert("b"))
    assert [w.alert.stream for w in outbox.waiting((P, 1))] == ["b"]
    assert outbox.waiting((Q, 1)) == ()


def test_a_page_of_which_less_is_owed_is_named_once_and_to_its_partition() -> None:
    outbox = an_outbox()
    outbox.put((P, 3), alert("a"))
    outbox.put((Q, 4), alert("a", Q))
    delivered(outbox)
    assert outbox.take_changed_pages(P) == {3}
    assert outbox.take_changed_pages(P) == set()
    assert outbox.take_changed_pages(Q) == {4}


def test_the_same_notification_is_queued_once_and_again_after_it_was_settled() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), alert("a"))
    outbox.put((P, 0), alert("a"))
    assert len(outbox) == 1
    delivered(outbox)
    outbox.put((P, 0), alert("a"))
    assert len(outbox) == 1


def test_a_stream_of_the_same_name_on_another_partition_is_another_incident() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), alert("a", P))
    outbox.put((Q, 0), alert("a", Q))
    assert len(outbox) == 2


def test_a_waiting_thread_is_woken_by_a_notification_and_by_the_end() -> None:
    outbox = Outbox(Routing(["hook"]))
    seen = list[str | None]()

    def read() -> None:
        for _ in range(2):
            parcel = outbox.take("hook", timeout=30)
            seen.append(None if parcel is None else parcel.post.alerts[0].stream)
            if parcel is not None:
                outbox.settle(parcel)

    reader = threading.Thread(target=read)
    reader.start()
    outbox.put((P, 0), alert("a"))
    assert outbox.drain(10)
    outbox.close()
    reader.join(10)
    assert not reader.is_alive()
    assert seen == ["a", None]


def test_draining_an_outbox_that_does_not_empty_ends_at_its_deadline() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), alert("a"))
    assert not outbox.drain(0.01)


# -- several receivers -----------------------------------------------------------------


def test_a_receiver_that_settles_nothing_holds_up_no_other_and_stays_owed() -> None:
    outbox = an_outbox(receivers=("dead", "live"))
    for name in "ab":
        outbox.put((P, 0), alert(name))
    assert streams(delivered(outbox, "live")) == [["a"], ["b"]]
    assert [(w.alert.stream, w.pending_receivers) for w in outbox.waiting((P, 0))] == [
        ("a", ("dead",)),
        ("b", ("dead",)),
    ]
    assert len(outbox) == 2


def test_after_a_restart_only_those_who_were_owed_are_told_in_the_order_it_was_raised() -> (
    None
):
    outbox = an_outbox(receivers=("dead", "live"))
    fired = alert("a")
    outbox.put((P, 0), fired)
    outbox.put((P, 1), alert("b"))
    delivered(outbox, "live")
    outbox.put((P, 0), resolved(fired))
    again = an_outbox(receivers=("dead", "live"))
    again.restore(P, [(n, w) for n in (1, 0) for w in outbox.waiting((P, n))], ())
    assert [
        [(a.stream, a.firing) for a in p.alerts] for p in delivered(again, "dead")
    ] == [[("a", True)], [("b", True)], [("a", False)]]
    assert [
        [(a.stream, a.firing) for a in p.alerts] for p in delivered(again, "live")
    ] == [[("a", False)]]


def test_what_was_owed_to_a_receiver_that_is_no_more_goes_where_the_routes_lead_now() -> (
    None
):
    outbox = an_outbox(receivers=("old",))
    outbox.put((P, 0), alert("a"))
    again = an_outbox(receivers=("new",))
    again.restore(P, [(0, w) for w in outbox.waiting((P, 0))], ())
    assert streams(delivered(again, "new")) == [["a"]]


def test_a_partition_that_is_given_up_takes_its_notifications_along() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), alert("a"))
    outbox.put((Q, 0), alert("b", Q))
    under_way = outbox.take("hook", 0)
    outbox.forget(P)
    assert under_way is not None
    outbox.settle(under_way)
    assert (len(outbox), outbox.waiting((P, 0))) == (1, ())
    assert streams(delivered(outbox)) == [["b"]]


# -- groups ----------------------------------------------------------------------------


def test_a_storm_of_one_group_is_few_posts_with_nothing_left_out() -> None:
    outbox = an_outbox(NO_CONDITIONS)
    for i in range(10_000):
        outbox.put((P, 0), alert(f"s{i}"))
    posts = delivered(outbox)
    assert len(posts) == 10_000 / MAX_ALERTS_PER_POST
    assert [s for names in streams(posts) for s in names] == [
        f"s{i}" for i in range(10_000)
    ]


def test_a_group_waits_for_others_from_its_first_notification_on() -> None:
    clock = FakeClock()
    outbox = an_outbox(replace(NO_CONDITIONS, group_wait=30), clock=clock)
    outbox.put((P, 0), alert("a"))
    clock.now += 29
    outbox.put((P, 0), alert("b"))
    assert delivered(outbox) == []
    clock.now += 1
    assert streams(delivered(outbox)) == [["a", "b"]]


def test_a_group_waits_no_more_at_the_end() -> None:
    outbox = an_outbox(replace(NO_CONDITIONS, group_wait=30))
    outbox.put((P, 0), alert("a"))
    outbox.drain(0)
    assert streams(delivered(outbox)) == [["a"]]


def test_a_retry_has_the_same_content_under_the_same_key_whatever_came_meanwhile() -> (
    None
):
    outbox = an_outbox(NO_CONDITIONS)
    outbox.put((P, 0), alert("a"))
    outbox.put((P, 0), alert("b"))
    first = outbox.take("hook", 0)
    outbox.put((P, 0), alert("c"))
    assert outbox.take("hook", 0) == first
    assert streams(delivered(outbox)) == [["a", "b"], ["c"]]


def test_a_notification_of_another_group_does_not_overtake_the_one_before_it() -> None:
    """The warning would wait a minute for others; the critical one would not wait, and
    hurries it.
    """
    outbox = an_outbox(
        Route("hook", frozenset({"critical"}), group_by=("severity",)),
        Route("hook", group_by=("severity",), group_wait=60),
    )
    outbox.put((P, 0), escalated(alert("other")))
    fired = alert("a")
    outbox.put((P, 0), fired)
    outbox.put((P, 0), escalated(fired))
    assert [
        [(a.stream, a.severity.label) for a in p.alerts] for p in delivered(outbox)
    ] == [
        [("other", "critical")],
        [("a", "warning")],
        [("a", "critical")],
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["fire", "escalate", "resolve", "deliver", "wait"]),
        ),
        max_size=60,
    )
)
def test_whatever_the_groups_each_streams_notifications_arrive_in_their_order(
    steps: list[tuple[int, str]],
) -> None:
    clock = FakeClock()
    outbox = an_outbox(
        Route("hook", frozenset({"critical"}), group_by=("severity",), group_wait=2),
        Route("hook", group_by=("alertname",), group_wait=7),
        clock=clock,
    )
    raised: dict[str, list[Alert]] = {}
    arrived: dict[str, list[Alert]] = {}
    for number, (stream, step) in enumerate(steps):
        before = raised.setdefault(f"s{stream}", [])
        if step == "wait":
            clock.now += 3
        elif step == "deliver":
            parcel = outbox.take("hook", 0)
            if parcel is not None:
                outbox.settle(parcel)
                for a in parcel.post.alerts:
                    arrived.setdefault(a.stream, []).append(a)
        else:
            new = alert(f"s{stream}", starts=60.0 * number)
            before.append(
                {"fire": new, "escalate": escalated(new), "resolve": resolved(new)}[
                    step
                ]
            )
            outbox.put((P, 0), before[-1])
    outbox.drain(0)
    for post in delivered(outbox):
        for a in post.alerts:
            arrived.setdefault(a.stream, []).append(a)
    assert arrived == {name: alerts for name, alerts in raised.items() if alerts}


# -- open incidents --------------------------------------------------------------------

REPEATED = Route("hook", repeat_interval=100)


def test_an_incident_that_goes_on_is_told_again_after_the_interval_under_a_key_of_its_own() -> (
    None
):
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 0), alert("a"))
    (first,) = delivered(outbox)
    clock.now += 99
    assert delivered(outbox) == []
    clock.now += 1
    (second,) = delivered(outbox)
    clock.now += 100
    (third,) = delivered(outbox)
    assert first.alerts == second.alerts == third.alerts
    assert len({first.key, second.key, third.key}) == 3


def test_what_was_not_acknowledged_is_not_repeated() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 0), alert("a"))
    outbox.take("hook", 0)
    clock.now += 1000
    outbox.take("hook", 0)
    assert len(outbox) == 1


def test_an_end_is_told_once_and_nothing_is_told_again_after_it() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    fired = alert("a")
    outbox.put((P, 0), fired)
    delivered(outbox)
    clock.now += 100
    # the repeat, which a dead receiver does not take
    under_way = outbox.take("hook", 0)
    assert under_way is not None
    outbox.put((P, 0), resolved(fired))
    clock.now += 1000
    assert [p.alerts for p in delivered(outbox)] == [(resolved(fired),)]
    assert outbox.opened((P, 0)) == ()


def test_repeats_go_on_after_a_restart_from_when_it_was_last_told() -> None:
    clock = FakeClock()
    outbox = an_outbox(REPEATED, clock=clock)
    outbox.put((P, 2), alert("a"))
    delivered(outbox)
    assert outbox.take_changed_pages(P) == {2}
    clock.now += 60
    again = an_outbox(REPEATED, clock=clock)
    again.restore(P, (), [(2, incident) for incident in outbox.opened((P, 2))])
    assert delivered(again) == []
    clock.now += 40
    assert streams(delivered(again)) == [["a"]]
    again.put((P, 2), resolved(alert("a")))
    assert [p.alerts[0].firing for p in delivered(again)] == [False]
    assert again.opened((P, 2)) == ()


def test_an_end_is_told_to_whoever_heard_of_the_beginning_and_to_nobody_else() -> None:
    routes = (
        Route("desk", frozenset({"warning"})),
        Route("pager", frozenset({"critical"})),
        Route(""),
    )
    outbox = an_outbox(*routes, receivers=("desk", "pager"))
    fired = alert("a")
    end = replace(resolved(fired), severity=Severity.CRITICAL)
    for one in (fired, escalated(fired), end):
        outbox.put((P, 0), one)
    assert [p.alerts[0].reason for p in delivered(outbox, "desk")] == [
        Reason.FIRED,
        Reason.RECOVERED,
    ]
    assert [p.alerts[0].reason for p in delivered(outbox, "pager")] == [
        Reason.ESCALATED,
        Reason.RECOVERED,
    ]
    other = escalated(alert("b"))
    outbox.put((P, 0), other)
    outbox.put((P, 0), replace(end, stream="b"))
    assert delivered(outbox, "desk") == []
