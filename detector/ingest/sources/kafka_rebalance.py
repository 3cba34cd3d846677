"""What happens when the group gives partitions or takes them.

kafka-python calls the listener on its own I/O thread, which also sends the heartbeats.
The listener calls back into the client only to seek, to pause, or to commit without
waiting: all else would wait for the thread it runs on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import structlog
from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from detector.ingest.sources.kafka_records import in_words, to_commit, to_partition
from detector.ports import Assignments


# the library's classes are untyped
class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Passes rebalances on to Assignments."""

    def __init__(
        self,
        consumer: KafkaConsumer,
        assignor: CooperativeStickyAssignor,
        assignments: Assignments,
    ) -> None:
        self._consumer = consumer
        self._assignor = assignor
        self._assignments = assignments
        self._log = structlog.get_logger("kafka")

    def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        self._hold_back(assigned)
        self._assignments.assigned([to_partition(tp) for tp in assigned])
        self._log.info("partitions_assigned", partitions=in_words(assigned))

    def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        if not revoked:
            return
        durable = self._assignments.revoked([to_partition(tp) for tp in revoked])
        if durable:
            self._consumer.commit_async(to_commit(durable))
        self._log.info("partitions_revoked", partitions=in_words(revoked))

    def on_partitions_lost(self, lost: Sequence[TopicPartition]) -> None:
        # kafka-python (3.0.12) would claim them when it joins again. The group would
        # then wait until this member gives up partitions that it does not have.
        self._assignor.member_assignment = None
        self._assignments.lost([to_partition(tp) for tp in lost])
        self._log.warning("partitions_lost", partitions=in_words(lost))

    def reassign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Revoke and assign partitions whose next offset is not in the log.

        Retention deleted the record, or the topic was made again. The start gate then
        finds, logs and counts what is missing, as it does after a restart.
        """
        at = [
            f"{to_partition(tp)}:{offset}" for tp, offset in sorted(positions.items())
        ]
        self._log.warning("out_of_range", positions=",".join(at))
        partitions = [to_partition(tp) for tp in positions]
        self._hold_back(positions)
        self._assignments.revoked(partitions)
        self._assignments.assigned(partitions)

    def _hold_back(self, partitions: Iterable[TopicPartition]) -> None:
        """Pause them. They get a position, or the client would look for one."""
        for tp in partitions:
            self._consumer.seek(tp, 0)
            self._consumer.pause(tp)
