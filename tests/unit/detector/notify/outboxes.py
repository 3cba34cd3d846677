"""An outbox and what leaves it, for tests that deliver by hand."""

from __future__ import annotations

from detector.notify.outbox import Outbox
from detector.notify.payload import OutgoingPost
from detector.notify.routes import Route, Routing
from tests.fakes import FakeClock


def an_outbox(
    *routes: Route,
    receivers: tuple[str, ...] = ("hook",),
    clock: FakeClock | None = None,
) -> Outbox:
    return Outbox(Routing(receivers, routes), clock or FakeClock())


def delivered(outbox: Outbox, receiver: str = "hook") -> list[OutgoingPost]:
    """Take and settle until nothing is due."""
    posts = []
    while (attempt := outbox.take(receiver, 0)) is not None:
        posts.append(attempt.post)
        outbox.settle(attempt)
    return posts


def streams(posts: list[OutgoingPost]) -> list[list[str]]:
    return [[a.stream for a in post.alerts] for post in posts]
