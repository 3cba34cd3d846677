"""Two cases in which a member must ask for a rebalance that nobody else asks for."""

from __future__ import annotations

from kafka import KafkaConsumer

# Seconds that a poll waits during a join: kafka-python completes a join only while a
# poll waits for its answer.
_JOIN = 1.0


class Rejoin:
    """Watches the membership of a consumer from poll to poll."""

    def __init__(self, consumer: KafkaConsumer, static_member: bool) -> None:
        self._coordinator = consumer._coordinator
        self._may_hold_orphans = static_member

    def poll_timeout(self, timeout: float) -> float:
        """Seconds that the next poll must wait."""
        return max(timeout, _JOIN) if self._coordinator.rejoining else timeout

    def after_poll(self) -> None:
        self._retry_forgotten_join()
        self._release_orphans()

    def _retry_forgotten_join(self) -> None:
        """Ask again for a join that the client forgets.

        A join may begin because a topic's metadata changed. If its answer comes while
        no poll waits for it, kafka-python (3.0.12) never completes it. The member then
        holds no partition, sends no heartbeat and logs nothing: one start in thirty.
        """
        if self._coordinator.rejoining and not self._coordinator.need_rejoin():
            self._coordinator.request_rejoin()

    def _release_orphans(self) -> None:
        """Join once more, the first time that a static member has joined.

        A static member that restarts within its session gets back what it had, without
        a rebalance. Before it died it may have given partitions up and not yet asked
        for the rebalance that hands them on. Without this join nobody would get them.
        """
        if self._may_hold_orphans and self._coordinator.stable():
            self._may_hold_orphans = False
            self._coordinator.request_rejoin()
