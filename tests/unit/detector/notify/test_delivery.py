"""The delivery threads: at least once, in order, and each receiver for itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from detector.errors import Permanent, Refused, Transient
from detector.metrics import Metrics
from detector.notify.delivery import Delivery, RetryPolicy
from detector.notify.outbox import Outbox
from detector.notify.receiver import Receiver
from detector.notify.routes import Route, Routing
from tests.fakes import DeadLetterList, PickyReceiver, ScriptedReceiver
from tests.unit.detector.notify.alerts import P, fired, resolved


class Stage:
    """An outbox, its receivers, and what they and the dead letters got."""

    def __init__(self, *routes: Route, **receivers: Receiver) -> None:
        self.outbox = Outbox(Routing(list(receivers), routes))
        self.dead_letters = DeadLetterList()
        self.metrics = Metrics(list(receivers))
        self.receivers = receivers

    @contextmanager
    def running(self, refusals: float = 3600.0) -> Iterator[Delivery]:
        delivery = Delivery(
            self.outbox,
            self.receivers,
            self.dead_letters,
            RetryPolicy(0.001, 0.002, refusals),
            self.metrics,
            seed=1,
        )
        delivery.start()
        yield delivery
        delivery.stop(0.01)

    def count(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


def test_notifications_leave_in_order_and_are_retried_until_delivered() -> None:
    hook = ScriptedReceiver([Transient("down"), Transient("down"), Transient("down")])
    stage = Stage(hook=hook)
    sent = [fired("a"), resolved(fired("a")), fired("b")]
    for alert in sent:
        stage.outbox.put((P, 0), alert)
    with stage.running():
        assert stage.outbox.drain(10)
    assert hook.delivered == sent
    assert len(hook.attempts) == 6
    assert len(set(hook.attempts[:4])) == 1
    assert stage.outbox.waiting((P, 0)) == ()
    assert stage.count("detector_notifications_total", outcome="retried") == 3
    assert stage.count("detector_notifications_total", outcome="delivered") == 3


def test_another_receiver_of_the_same_name_gets_what_the_first_did_not() -> None:
    refusing = ScriptedReceiver([Refused("401")] * 1000)
    stage = Stage(hook=refusing)
    stage.outbox.put((P, 0), fired("a"))
    with stage.running() as delivery:
        assert not stage.outbox.drain(0.05)
        taking = ScriptedReceiver()
        delivery.use({"hook": taking}, RetryPolicy(0.001, 0.002))
        assert stage.outbox.drain(10)
    assert [alert.stream for alert in taking.delivered] == ["a"]
    assert not refusing.delivered


def test_a_refused_notification_is_dead_lettered_and_the_next_leaves() -> None:
    hook = ScriptedReceiver([Permanent("404")])
    stage = Stage(hook=hook)
    stage.outbox.put((P, 0), fired("a"))
    stage.outbox.put((P, 0), fired("b"))
    with stage.running():
        assert stage.outbox.drain(10)
    assert [(a.stream, cause) for a, cause in stage.dead_letters.notifications] == [
        ("a", "404")
    ]
    assert [a.stream for a in hook.delivered] == ["b"]


def test_a_summary_that_is_refused_is_one_dead_letter() -> None:
    hook = ScriptedReceiver([Permanent("404")])
    stage = Stage(hook=hook)
    stage.outbox.begin_backlog(P)
    for name in "abc":
        stage.outbox.put((P, 0), fired(name), is_old=True)
        stage.outbox.put((P, 0), resolved(fired(name)), is_old=True)
    stage.outbox.end_backlog(P)
    with stage.running():
        assert stage.outbox.drain(10)
    (parts,) = stage.dead_letters.summaries
    assert [alert.stream for alert in parts] == ["a", "b", "c"]
    assert stage.dead_letters.notifications == []


def test_a_refusal_that_passes_costs_nothing() -> None:
    """A proxy answers 404 while a receiver is deployed."""
    hook = ScriptedReceiver([Refused("404"), Refused("404"), Refused("404")])
    stage = Stage(hook=hook)
    sent = [fired("a"), resolved(fired("a"))]
    for alert in sent:
        stage.outbox.put((P, 0), alert)
    with stage.running():
        assert stage.outbox.drain(10)
    assert hook.delivered == sent
    assert stage.dead_letters.notifications == []


def test_a_refusal_that_lasts_is_dead_lettered() -> None:
    hook = ScriptedReceiver([Refused("404")] * 3)
    stage = Stage(hook=hook)
    stage.outbox.put((P, 0), fired("a"))
    with stage.running(refusals=0):
        assert stage.outbox.drain(10)
    assert [(a.stream, cause) for a, cause in stage.dead_letters.notifications] == [
        ("a", "404")
    ]
    assert hook.delivered == []


def test_a_fault_of_ours_is_logged_without_its_text_and_retried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    hook = ScriptedReceiver([ValueError("http://hook.example/t0ken")])
    stage = Stage(hook=hook)
    stage.outbox.put((P, 0), fired("a"))
    with stage.running():
        assert stage.outbox.drain(10)
    assert [a.stream for a in hook.delivered] == ["a"]
    assert stage.count("detector_notifications_total", outcome="retried") == 1
    log = capsys.readouterr().out
    assert "ValueError" in log
    assert "t0ken" not in log


@pytest.mark.parametrize("refusal", [Refused("400"), Permanent("413")])
def test_a_refused_notification_keeps_nothing_of_its_post_back(
    refusal: Permanent,
) -> None:
    hook = PickyReceiver("s37", refusal)
    stage = Stage(Route("hook", group_by=("alertname",)), hook=hook)
    names = [f"s{i}" for i in range(50)]
    for name in names:
        stage.outbox.put((P, 0), fired(name))
    with stage.running(refusals=0):
        assert stage.outbox.drain(10)
    told = sorted(alert.stream for post in hook.posts for alert in post.alerts)
    assert told == sorted(set(names) - {"s37"})
    assert [alert.stream for alert, _ in stage.dead_letters.notifications] == ["s37"]
    assert len(hook.posts) < 10
    assert stage.count("detector_notifications_total", outcome="dead_lettered") == 1


def test_a_group_that_is_refused_whole_is_dead_lettered_one_by_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stage = Stage(
        Route("hook", group_by=("alertname",)),
        hook=ScriptedReceiver([Permanent("400")] * 5),
    )
    for name in "abc":
        stage.outbox.put((P, 0), fired(name))
    with stage.running():
        assert stage.outbox.drain(10)
    assert [(a.stream, cause) for a, cause in stage.dead_letters.notifications] == [
        ("a", "400"),
        ("b", "400"),
        ("c", "400"),
    ]
    log = capsys.readouterr().out
    for shown in ("=a", "=b", stage.dead_letters.file, "correct the receiver's"):
        assert shown in log
    assert stage.count("detector_notifications_total", outcome="dead_lettered") == 3


def test_a_dead_receiver_delays_no_other() -> None:
    dead = ScriptedReceiver([Transient("down", retry_after=3600)])
    live = ScriptedReceiver()
    stage = Stage(dead=dead, live=live)
    for i in range(50):
        stage.outbox.put((P, 0), fired(f"s{i}"))
    with stage.running():
        assert not stage.outbox.drain(0.5)
        assert [a.stream for a in live.delivered] == [f"s{i}" for i in range(50)]
    assert len(stage.outbox) == 50
    assert {w.pending_receivers for w in stage.outbox.waiting((P, 0))} == {("dead",)}


@pytest.mark.parametrize(
    ("failed", "longest"), [(0, 0.5), (1, 1.0), (3, 4.0), (9, 60.0), (5000, 60.0)]
)
def test_the_longest_pause_doubles_up_to_a_maximum(failed: int, longest: float) -> None:
    assert RetryPolicy(0.5, 60.0).longest_pause(failed) == longest
