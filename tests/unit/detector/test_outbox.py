"""Between the loop and the delivery thread: order, once, and gone only when it is settled."""

from __future__ import annotations

import threading

from detector.alerting.outbox import Outbox
from detector.events import Alert, Partition, Reason, Severity

P, Q = Partition("metrics", 0), Partition("metrics", 1)


def alert(stream: str, partition: Partition = P) -> Alert:
    return Alert(partition, stream, Severity.WARNING, Reason.FIRED, 60.0, None, 60.0, 7.0, 6.0)


def test_notifications_leave_in_the_order_they_came() -> None:
    outbox, left = Outbox(), list[str]()
    for name in "cab":
        outbox.put((P, 0), alert(name))
    while (entry := outbox.next(0)) is not None:
        left.append(entry.alert.stream)
        outbox.settle(entry)
    assert left == ["c", "a", "b"]


def test_a_notification_stays_until_it_is_settled() -> None:
    outbox = Outbox()
    outbox.put((P, 0), alert("a"))
    first, second = outbox.next(0), outbox.next(0)
    assert first is second
    assert first is not None
    outbox.settle(first)
    assert outbox.next(0) is None
    assert len(outbox) == 0


def test_each_page_holds_its_own_notifications() -> None:
    outbox = Outbox()
    outbox.put((P, 0), alert("a"))
    outbox.put((P, 1), alert("b"))
    assert [a.stream for a in outbox.unsettled((P, 1))] == ["b"]
    assert outbox.unsettled((Q, 1)) == ()


def test_a_page_whose_notification_was_settled_is_named_once_and_to_its_partition() -> None:
    outbox = Outbox()
    outbox.put((P, 3), alert("a"))
    outbox.put((Q, 4), alert("a", Q))
    while (entry := outbox.next(0)) is not None:
        outbox.settle(entry)
    assert outbox.take_settled_pages(P) == {3}
    assert outbox.take_settled_pages(P) == set()
    assert outbox.take_settled_pages(Q) == {4}


def test_the_same_notification_is_queued_once_and_again_after_it_was_settled() -> None:
    outbox = Outbox()
    outbox.put((P, 0), alert("a"))
    outbox.put((P, 0), alert("a"))
    assert len(outbox) == 1
    entry = outbox.next(0)
    assert entry is not None
    outbox.settle(entry)
    outbox.put((P, 0), alert("a"))
    assert len(outbox) == 1


def test_a_stream_of_the_same_name_on_another_partition_is_another_incident() -> None:
    outbox = Outbox()
    outbox.put((P, 0), alert("a", P))
    outbox.put((Q, 0), alert("a", Q))
    assert len(outbox) == 2


def test_a_waiting_reader_is_woken_by_a_notification_and_by_the_end() -> None:
    outbox, seen = Outbox(), list[str | None]()

    def read() -> None:
        for _ in range(2):
            entry = outbox.next(timeout=30)
            seen.append(None if entry is None else entry.alert.stream)
            if entry is not None:
                outbox.settle(entry)

    reader = threading.Thread(target=read)
    reader.start()
    outbox.put((P, 0), alert("a"))
    assert outbox.wait_empty(10)
    outbox.close()
    reader.join(10)
    assert not reader.is_alive()
    assert seen == ["a", None]


def test_waiting_for_an_outbox_that_does_not_empty_ends_at_its_deadline() -> None:
    outbox = Outbox()
    outbox.put((P, 0), alert("a"))
    assert not outbox.wait_empty(0.01)
