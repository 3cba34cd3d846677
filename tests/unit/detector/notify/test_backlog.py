"""A backlog: nobody is told of what came and went in it one by one, and nothing is lost
or told twice by a kill.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from detector.events import Alert, Partition, PendingNotification, Reason, Severity
from detector.notify.backlog_summary import Summary, post_body, summary_of
from detector.notify.labels import Labelling
from detector.notify.outbox import Outbox
from detector.notify.payload import OutgoingPost
from detector.notify.routes import Route
from tests.unit.detector.notify.alerts import P, Q, escalated, fired, resolved
from tests.unit.detector.notify.outboxes import an_outbox, delivered

PAGE = (P, 0)


def behind(*partitions: Partition, outbox: Outbox | None = None) -> Outbox:
    """An outbox whose partitions have a backlog."""
    made = an_outbox() if outbox is None else outbox
    for partition in partitions or (P,):
        made.begin_backlog(partition)
    return made


def put_old(outbox: Outbox, *alerts: Alert) -> None:
    for alert in alerts:
        outbox.put((alert.partition, 0), alert, is_old=True)


def told(posts: Iterable[OutgoingPost]) -> list[tuple[str, Reason]]:
    """What receivers get one by one."""
    alerts = [alert for post in posts if not post.sums_up for alert in post.alerts]
    return [(alert.stream, alert.reason) for alert in alerts]


def the_summary(posts: Iterable[OutgoingPost]) -> Summary:
    (only,) = [post for post in posts if post.sums_up]
    return summary_of(only)


def counts(summary: Summary) -> dict[str, int]:
    return {alert.stream: alert.repeats for alert in summary.ended}


def test_what_came_and_went_is_told_in_one_notification() -> None:
    outbox = behind()
    for start in (60.0, 6000.0):
        put_old(outbox, fired("a", starts=start), resolved(fired("a", starts=start)))
    grave = escalated(fired("b", starts=600.0))
    put_old(outbox, fired("b", starts=600.0), grave, resolved(grave))
    assert outbox.take("hook", 0) is None
    assert len(outbox) == 0
    outbox.end_backlog(P)
    (post,) = delivered(outbox)
    assert post.notifications == 1
    summary = summary_of(post)
    assert counts(summary) == {"a": 2, "b": 1}
    assert summary.critical == {"b"}
    assert (summary.begins, summary.ends) == (60.0, 6060.0)


def test_what_is_still_open_is_told_by_itself_and_named() -> None:
    outbox = behind()
    put_old(outbox, fired("a"), resolved(fired("a")), fired("b"))
    put_old(outbox, escalated(fired("b")))
    outbox.end_backlog(P)
    posts = delivered(outbox)
    assert told(posts) == [("b", Reason.FIRED)]
    summary = the_summary(posts)
    assert [alert.stream for alert in summary.still_open] == ["b"]
    assert summary.incidents == 2
    outbox.put(PAGE, resolved(escalated(fired("b"))))
    assert told(delivered(outbox)) == [("b", Reason.RECOVERED)]


def test_an_incident_that_receivers_know_gets_its_end() -> None:
    outbox = an_outbox()
    outbox.put(PAGE, fired("a"))
    delivered(outbox)
    behind(outbox=outbox)
    put_old(outbox, escalated(fired("a")), resolved(fired("a")))
    assert told(delivered(outbox)) == [
        ("a", Reason.ESCALATED),
        ("a", Reason.RECOVERED),
    ]
    outbox.end_backlog(P)
    assert delivered(outbox) == []


def test_what_is_recent_is_told_at_once() -> None:
    """Also of an incident that began in the old part."""
    outbox = behind()
    put_old(outbox, fired("a"))
    outbox.put(PAGE, escalated(fired("a")))
    outbox.put(PAGE, fired("b"))
    assert told(delivered(outbox)) == [("a", Reason.FIRED), ("b", Reason.FIRED)]
    outbox.put(PAGE, resolved(fired("a")))
    assert told(delivered(outbox)) == [("a", Reason.RECOVERED)]
    outbox.end_backlog(P)
    posts = delivered(outbox)
    assert told(posts) == []
    assert counts(the_summary(posts)) == {"a": 1}


def test_an_incident_that_got_worse_while_held_is_told_first_as_critical() -> None:
    outbox = behind()
    put_old(outbox, fired("a"), escalated(fired("a")))
    outbox.end_backlog(P)
    (first, _) = [alert for post in delivered(outbox) for alert in post.alerts]
    assert (first.reason, first.severity) == (Reason.FIRED, Severity.CRITICAL)


def test_the_key_of_a_summary_has_no_colon() -> None:
    """A mail's Message-ID ends at one."""
    outbox = behind()
    put_old(outbox, fired("a"), resolved(fired("a")))
    outbox.end_backlog(P)
    (post,) = delivered(outbox)
    assert ":" not in post.key


def test_an_incident_that_ends_in_the_recent_part_is_not_told_by_itself() -> None:
    outbox = behind()
    put_old(outbox, fired("a"))
    outbox.put(PAGE, resolved(fired("a")))
    outbox.end_backlog(P)
    posts = delivered(outbox)
    assert told(posts) == []
    assert counts(the_summary(posts)) == {"a": 1}


def test_all_partitions_are_one_summary_and_open_incidents_do_not_wait_for_it() -> None:
    outbox = behind(P, Q)
    put_old(outbox, fired("a"), fired("b"), resolved(fired("b")))
    put_old(outbox, fired("a", Q), resolved(fired("a", Q)))
    outbox.end_backlog(P)
    assert told(delivered(outbox)) == [("a", Reason.FIRED)]
    outbox.end_backlog(Q)
    (post,) = delivered(outbox)
    assert summary_of(post).incidents == 3


def test_a_partition_that_is_given_up_takes_its_part_along() -> None:
    outbox = behind(P, Q)
    put_old(outbox, fired("a"), resolved(fired("a")))
    put_old(outbox, fired("b", Q), resolved(fired("b", Q)))
    outbox.end_backlog(P)
    outbox.forget(Q)
    assert counts(the_summary(delivered(outbox))) == {"a": 1}


def again(outbox: Outbox) -> Outbox:
    """After a kill: what its page held."""
    made = an_outbox()
    made.restore(P, [(0, stored) for stored in outbox.waiting(PAGE)], [])
    return made


def test_a_kill_anywhere_loses_nothing_and_counts_nothing_twice() -> None:
    """Pages hold what is counted, and skip the records that it was counted from."""
    alerts = []
    for start in (60.0, 6000.0, 9000.0):
        alerts += [fired("a", starts=start), resolved(fired("a", starts=start))]
    alerts += [fired("b"), fired("c"), resolved(fired("c"))]
    for killed_after in range(len(alerts) + 1):
        outbox = behind()
        put_old(outbox, *alerts[:killed_after])
        outbox = again(behind(outbox=again(outbox)))
        behind(outbox=outbox)
        put_old(outbox, *alerts[killed_after:])
        outbox.end_backlog(P)
        outbox = again(outbox)
        outbox.end_backlog(P)
        posts = delivered(outbox)
        assert told(posts) == [("b", Reason.FIRED)]
        summary = the_summary(posts)
        assert counts(summary) == {"a": 3, "c": 1}
        assert [alert.stream for alert in summary.still_open] == ["b"]
        assert outbox.waiting(PAGE) == ()


def test_a_stream_that_moves_to_another_page_is_counted_once() -> None:
    """Idle streams leave their page; a kill may leave both pages in the store."""
    outbox = behind()
    put_old(outbox, fired("a"), resolved(fired("a")))
    before = outbox.waiting(PAGE)
    second = fired("a", starts=6000.0)
    for alert in (second, resolved(second), fired("a", starts=9000.0)):
        outbox.put((P, 7), alert, is_old=True)
    assert outbox.take_changed_pages(P) == {0}
    assert outbox.waiting(PAGE) == ()
    after = an_outbox()
    stored = [(7, part) for part in outbox.waiting((P, 7))]
    after.restore(P, [*stored, *[(0, part) for part in before]], [])
    after.end_backlog(P)
    posts = delivered(after)
    assert told(posts) == [("a", Reason.FIRED)]
    assert the_summary(posts).incidents == 3


def test_an_incident_whose_stream_began_anew_counts_as_over() -> None:
    """No end was raised for it: its stream was forgotten meanwhile."""
    outbox = behind()
    put_old(outbox, fired("a"), fired("a", starts=9000.0))
    put_old(outbox, resolved(fired("a", starts=9000.0)))
    outbox.end_backlog(P)
    assert counts(the_summary(delivered(outbox))) == {"a": 2}


def test_a_restart_delivers_the_summary_to_those_who_wait_for_it_alone() -> None:
    outbox = behind(outbox=an_outbox(receivers=("hook", "chat")))
    put_old(outbox, fired("a"), resolved(fired("a")))
    outbox.end_backlog(P)
    first = the_summary(delivered(outbox, "chat"))
    after = an_outbox(receivers=("hook", "chat"))
    after.restore(P, [(0, stored) for stored in outbox.waiting(PAGE)], [])
    after.end_backlog(P)
    assert delivered(after, "chat") == []
    assert the_summary(delivered(after, "hook")) == first


def test_the_summary_has_one_key_before_and_after_a_restart() -> None:
    outbox = behind()
    put_old(outbox, fired("a"), resolved(fired("a")), fired("b"), resolved(fired("b")))
    outbox.end_backlog(P)
    after = again(outbox)
    after.end_backlog(P)
    before = [post.key for post in delivered(outbox)]
    assert [post.key for post in delivered(after)] == before


def test_pages_that_a_summary_leaves_are_written_again() -> None:
    outbox = behind()
    put_old(outbox, fired("a"), resolved(fired("a")))
    outbox.end_backlog(P)
    outbox.take_changed_pages(P)
    delivered(outbox)
    assert outbox.take_changed_pages(P) == {0}


def test_each_receiver_hears_of_what_the_routes_lead_to_it() -> None:
    routes = (Route("pager", frozenset({"critical"})), Route("chat"))
    outbox = behind(outbox=an_outbox(*routes, receivers=("pager", "chat")))
    grave = escalated(fired("b"))
    put_old(outbox, fired("a"), resolved(fired("a")), fired("b"), grave)
    put_old(outbox, resolved(grave))
    outbox.end_backlog(P)
    assert counts(the_summary(delivered(outbox, "pager"))) == {"b": 1}
    assert counts(the_summary(delivered(outbox, "chat"))) == {"a": 1}


def test_a_summary_that_is_refused_is_not_torn_apart() -> None:
    outbox = behind()
    for name in "abc":
        put_old(outbox, fired(name), resolved(fired(name)))
    outbox.end_backlog(P)
    attempt = outbox.take("hook", 0)
    assert attempt is not None
    outbox.put_off(attempt, 0)
    (post,) = delivered(outbox)
    assert post == attempt.post


def test_without_receivers_nothing_is_kept() -> None:
    outbox = behind(outbox=Outbox())
    put_old(outbox, fired("a"), resolved(fired("a")))
    assert outbox.waiting(PAGE) == ()


def test_another_bundle_that_ends_a_held_incident_tells_nobody() -> None:
    """Its end is restored with the pages; receivers never heard of it."""
    outbox = behind()
    put_old(outbox, fired("a"))
    stored = [(0, part) for part in outbox.waiting(PAGE)]
    ended = resolved(fired("a"))
    stored.append((0, PendingNotification(ended, 99)))
    after = an_outbox()
    after.restore(P, stored, [])
    after.end_backlog(P)
    posts = delivered(after)
    assert told(posts) == []
    assert counts(the_summary(posts)) == {"a": 1}


@pytest.mark.parametrize("still_open", [True, False])
def test_a_person_reads_how_many_which_and_from_when_to_when(still_open: bool) -> None:
    outbox = behind()
    for start in (60.0, 6000.0):
        put_old(outbox, fired("a", starts=start), resolved(fired("a", starts=start)))
    if still_open:
        put_old(outbox, fired("b", starts=7000.0))
    outbox.end_backlog(P)
    (post,) = [post for post in delivered(outbox) if post.sums_up]
    body = post_body(post, Labelling({"site": "north"}), "")
    (alert,) = body.alerts
    assert body.status == alert.status == "resolved"
    assert alert.labels == {
        "site": "north",
        "alertname": "StreamBacklog",
        "severity": Severity.WARNING.label,
        "stream": "(backlog)",
    }
    text = alert.annotations["summary"]
    assert "from 1970-01-01T00:01:00Z to" in text
    if still_open:
        assert "2 streams had 3 incidents" in text
        assert text.endswith("1 still open")
        assert "Still open, each told by itself: b." in alert.annotations["description"]
    else:
        assert "1 stream had 2 incidents" in text
        assert text.endswith("all are over")
    assert "Over: a 2 times." in alert.annotations["description"]
