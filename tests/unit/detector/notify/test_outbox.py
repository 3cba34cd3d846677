"""Between the loop and the delivery threads: in order, once, each receiver for itself,
and gone only when settled.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import Alert, Reason
from detector.notify.outbox import Outbox
from detector.notify.routes import MAX_ALERTS_PER_POST, Route, Routing
from tests.fakes import FakeClock
from tests.unit.detector.notify.alerts import P, Q, escalated, fired, resolved
from tests.unit.detector.notify.outboxes import an_outbox, delivered, streams

NO_CONDITIONS = Route("hook", group_by=("alertname",))


def test_notifications_leave_in_order_each_in_its_own_post() -> None:
    outbox = an_outbox()
    for name in "cab":
        outbox.put((P, 0), fired(name))
    assert streams(delivered(outbox)) == [["c"], ["a"], ["b"]]


def test_a_notification_stays_until_it_is_settled() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), fired("a"))
    first = outbox.take("hook", 0)
    second = outbox.take("hook", 0)
    assert first == second
    assert first is not None
    outbox.settle(first)
    assert outbox.take("hook", 0) is None
    assert len(outbox) == 0


def test_without_receivers_nothing_waits() -> None:
    outbox = Outbox()
    outbox.put((P, 0), fired("a"))
    assert (len(outbox), outbox.waiting((P, 0))) == (0, ())


def test_each_page_holds_its_own_notifications() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), fired("a"))
    outbox.put((P, 1), fired("b"))
    assert [w.alert.stream for w in outbox.waiting((P, 1))] == ["b"]
    assert outbox.waiting((Q, 1)) == ()


def test_a_page_that_changed_is_named_once_to_its_partition() -> None:
    outbox = an_outbox()
    outbox.put((P, 3), fired("a"))
    outbox.put((Q, 4), fired("a", Q))
    delivered(outbox)
    assert outbox.take_changed_pages(P) == {3}
    assert outbox.take_changed_pages(P) == set()
    assert outbox.take_changed_pages(Q) == {4}


def test_a_notification_is_queued_once_and_again_after_it_is_settled() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), fired("a"))
    outbox.put((P, 0), fired("a"))
    assert len(outbox) == 1
    delivered(outbox)
    outbox.put((P, 0), fired("a"))
    assert len(outbox) == 1


def test_a_stream_of_the_same_name_on_another_partition_is_another_one() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), fired("a", P))
    outbox.put((Q, 0), fired("a", Q))
    assert len(outbox) == 2


def test_a_post_that_is_put_off_delays_its_own_streams_alone() -> None:
    clock = FakeClock()
    outbox = an_outbox(clock=clock)
    alert = fired("a")
    outbox.put((P, 0), alert)
    outbox.put((P, 0), resolved(alert))
    outbox.put((P, 0), fired("b"))
    refused = outbox.take("hook", 0)
    assert refused is not None
    outbox.put_off(refused, 60)
    assert streams(delivered(outbox)) == [["b"]]
    clock.now += 59
    assert outbox.take("hook", 0) is None
    clock.now += 1
    due = outbox.take("hook", 0)
    assert due is not None
    assert due.refused_for == 60
    again = delivered(outbox)
    assert streams(again) == [["a"], ["a"]]
    assert again[0] == refused.post
    assert len(outbox) == 0


def test_a_thread_that_waits_is_woken_by_a_notification_and_by_the_end() -> None:
    outbox = Outbox(Routing(["hook"]))
    taken = list[str | None]()

    def read() -> None:
        for _ in range(2):
            attempt = outbox.take("hook", timeout=30)
            taken.append(None if attempt is None else attempt.post.alerts[0].stream)
            if attempt is not None:
                outbox.settle(attempt)

    reader = threading.Thread(target=read)
    reader.start()
    outbox.put((P, 0), fired("a"))
    assert outbox.drain(10)
    outbox.close()
    reader.join(10)
    assert not reader.is_alive()
    assert taken == ["a", None]


def test_draining_ends_at_its_deadline() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), fired("a"))
    assert not outbox.drain(0.01)


# -- several receivers -----------------------------------------------------------------


def test_a_dead_receiver_delays_no_other_and_stays_pending() -> None:
    outbox = an_outbox(receivers=("dead", "live"))
    for name in "ab":
        outbox.put((P, 0), fired(name))
    assert streams(delivered(outbox, "live")) == [["a"], ["b"]]
    assert [(w.alert.stream, w.pending_receivers) for w in outbox.waiting((P, 0))] == [
        ("a", ("dead",)),
        ("b", ("dead",)),
    ]
    assert len(outbox) == 2


def test_after_a_restart_only_pending_receivers_get_it_in_order() -> None:
    outbox = an_outbox(receivers=("dead", "live"))
    first = fired("a")
    outbox.put((P, 0), first)
    outbox.put((P, 1), fired("b"))
    delivered(outbox, "live")
    outbox.put((P, 0), resolved(first))
    again = an_outbox(receivers=("dead", "live"))
    again.restore(P, [(n, w) for n in (1, 0) for w in outbox.waiting((P, n))], ())
    assert [
        [(a.stream, a.firing) for a in p.alerts] for p in delivered(again, "dead")
    ] == [[("a", True)], [("b", True)], [("a", False)]]
    assert [
        [(a.stream, a.firing) for a in p.alerts] for p in delivered(again, "live")
    ] == [[("a", False)]]


def test_what_a_removed_receiver_missed_goes_where_routes_lead_now() -> None:
    outbox = an_outbox(receivers=("old",))
    outbox.put((P, 0), fired("a"))
    again = an_outbox(receivers=("new",))
    again.restore(P, [(0, w) for w in outbox.waiting((P, 0))], ())
    assert streams(delivered(again, "new")) == [["a"]]


def test_a_partition_that_is_given_up_takes_its_notifications() -> None:
    outbox = an_outbox()
    outbox.put((P, 0), fired("a"))
    outbox.put((Q, 0), fired("b", Q))
    in_flight = outbox.take("hook", 0)
    outbox.forget(P)
    assert in_flight is not None
    outbox.settle(in_flight)
    assert (len(outbox), outbox.waiting((P, 0))) == (1, ())
    assert streams(delivered(outbox)) == [["b"]]


# -- groups ----------------------------------------------------------------------------


def test_a_storm_of_one_group_is_a_few_posts_with_nothing_left_out() -> None:
    outbox = an_outbox(NO_CONDITIONS)
    for i in range(10_000):
        outbox.put((P, 0), fired(f"s{i}"))
    posts = delivered(outbox)
    assert len(posts) == 10_000 / MAX_ALERTS_PER_POST
    assert [s for names in streams(posts) for s in names] == [
        f"s{i}" for i in range(10_000)
    ]


def test_a_group_gathers_from_its_first_notification_on() -> None:
    clock = FakeClock()
    outbox = an_outbox(replace(NO_CONDITIONS, group_wait=30), clock=clock)
    outbox.put((P, 0), fired("a"))
    clock.now += 29
    outbox.put((P, 0), fired("b"))
    assert delivered(outbox) == []
    clock.now += 1
    assert streams(delivered(outbox)) == [["a", "b"]]


def test_a_group_no_longer_gathers_while_draining() -> None:
    outbox = an_outbox(replace(NO_CONDITIONS, group_wait=30))
    outbox.put((P, 0), fired("a"))
    outbox.drain(0)
    assert streams(delivered(outbox)) == [["a"]]


def test_a_retry_has_the_same_content_and_key_whatever_came_meanwhile() -> None:
    outbox = an_outbox(NO_CONDITIONS)
    outbox.put((P, 0), fired("a"))
    outbox.put((P, 0), fired("b"))
    first = outbox.take("hook", 0)
    outbox.put((P, 0), fired("c"))
    assert outbox.take("hook", 0) == first
    assert streams(delivered(outbox)) == [["a", "b"], ["c"]]


def test_no_notification_overtakes_an_earlier_one_in_another_group() -> None:
    """The warning gathers for a minute; the critical one is due, and takes it along."""
    outbox = an_outbox(
        Route("hook", frozenset({"critical"}), group_by=("severity",)),
        Route("hook", group_by=("severity",), group_wait=60),
    )
    outbox.put((P, 0), escalated(fired("other")))
    first = fired("a")
    outbox.put((P, 0), first)
    outbox.put((P, 0), escalated(first))
    posts = delivered(outbox)
    assert streams(posts) == [["other"], ["a"], ["a"]]
    assert [p.alerts[0].reason for p in posts[1:]] == [Reason.FIRED, Reason.ESCALATED]


STEPS = {"escalate": escalated, "resolve": resolved}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 4),
            st.sampled_from(["fire", *STEPS, "deliver", "refuse", "wait"]),
        ),
        max_size=60,
    )
)
def test_whatever_the_groups_each_stream_keeps_its_order(
    steps: list[tuple[int, str]],
) -> None:
    clock = FakeClock()
    outbox = an_outbox(
        Route("hook", frozenset({"critical"}), group_by=("severity",), group_wait=2),
        Route("hook", group_by=("alertname",), group_wait=7),
        clock=clock,
    )
    raised: dict[str, list[Alert]] = defaultdict(list)
    arrived: dict[str, list[Alert]] = defaultdict(list)
    for number, (stream, step) in enumerate(steps):
        if step == "wait":
            clock.now += 3
        elif step == "refuse":
            attempt = outbox.take("hook", 0)
            if attempt is not None:
                outbox.put_off(attempt, stream)
        elif step == "deliver":
            attempt = outbox.take("hook", 0)
            if attempt is not None:
                outbox.settle(attempt)
                for one in attempt.post.alerts:
                    arrived[one.stream].append(one)
        else:
            new = fired(f"s{stream}", starts=60.0 * number)
            alert = new if step == "fire" else STEPS[step](new)
            raised[alert.stream].append(alert)
            outbox.put((P, 0), alert)
    clock.now += 60
    outbox.drain(0)
    for post in delivered(outbox):
        for one in post.alerts:
            arrived[one.stream].append(one)
    assert arrived == raised
    assert len(outbox) == 0
