"""Health, readiness and the faults that last: written by the loop, read by HTTP."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Health:
    """What the daemon says of itself.

    Attributes:
        last_turn: monotonic seconds at which the loop last began a turn.
        ready: partitions are assigned, and the pages of all of them are restored.
        restoring: how many partitions wait for their pages.
        stopping: the daemon drains and reads no more.
        store_fault: why the last checkpoint failed, or "".
        restore_fault: why pages can't be read at present, or "".
        source_fault: why the broker can't be polled at present, or "".
        held_fault: which partitions can't be read at present and why, or "".
    """

    last_turn: float
    ready: bool = False
    restoring: int = 0
    stopping: bool = False
    store_fault: str = ""
    restore_fault: str = ""
    source_fault: str = ""
    held_fault: str = ""

    def is_serving(self) -> bool:
        """Ready, and not about to stop."""
        return self.ready and not self.stopping

    def not_ready_because(self) -> str:
        """Why no records are scored, in words; "" if they are."""
        if self.is_serving():
            return ""
        if self.stopping:
            return "the daemon is stopping"
        faults = "".join(f"; {fault}" for fault in self.faults())
        if self.restoring:
            noun = "partition" if self.restoring == 1 else "partitions"
            return f"the states of {self.restoring} {noun} are being restored{faults}"
        return (
            "no partition is assigned: the log says why in `no_partitions` or"
            f" `waiting_for_broker`{faults}"
        )

    def faults(self) -> tuple[str, ...]:
        """The faults that last, one sentence each."""
        every = (
            self.store_fault,
            self.restore_fault,
            self.source_fault,
            self.held_fault,
        )
        return tuple(fault for fault in every if fault)
