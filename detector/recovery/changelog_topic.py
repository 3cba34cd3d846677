"""The topic that keeps pages: made, widened and checked through Kafka's admin API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import structlog
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic
from kafka.errors import KafkaError, TopicAlreadyExistsError

from detector.errors import ConfigError, StoreError
from detector.events import Partition
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings

#: Bytes of a record: 256 rows of 4,000 floats, their decisions and as much again in
#: undelivered alerts.
LARGEST: Final = 16 << 20
#: Small segments, rolled often: compaction skips the active one, and a restore reads
#: all of it.
CREATED_WITH: Final = {
    "cleanup.policy": "compact",
    "max.message.bytes": str(LARGEST),
    "segment.bytes": str(64 << 20),
    "segment.ms": "600000",
    "min.cleanable.dirty.ratio": "0.2",
}
TIMEOUT_MS: Final = 10_000  # for one request


class ChangelogTopic:
    """As wide as the widest input topic: partition n keeps the pages of partition n."""

    def __init__(self, settings: KafkaSettings, name: str) -> None:
        self._settings = settings
        self.name = name
        self._partitions = 0
        self._log = structlog.get_logger("store")

    def examine(self) -> None:
        """Whether an existing topic can serve, for ``check``.

        Raises StoreError or ConfigError.
        """
        with self._admin() as admin:
            if _partitions(admin, self.name):
                self._check(admin)

    def prepare(self, partition: Partition) -> None:
        """Make sure that the topic can keep this partition's pages.

        Raises StoreError or ConfigError. Does nothing once that is known.
        """
        if partition.number < self._partitions:
            return
        with self._admin() as admin:
            wanted = max(_partitions(admin, partition.topic), partition.number + 1)
            found = _partitions(admin, self.name)
            if found:
                self._check(admin)
                self._widen(admin, found, wanted)
            else:
                self._create(admin, wanted)
            self._partitions = max(found, wanted)

    def _create(self, admin: KafkaAdminClient, partitions: int) -> None:
        topic = NewTopic(self.name, partitions, -1, topic_configs=dict(CREATED_WITH))
        # another member may be faster
        with contextlib.suppress(TopicAlreadyExistsError):
            admin.create_topics([topic], wait_for_metadata=True)
            self._log.info("changelog_created", topic=self.name, partitions=partitions)

    def _widen(self, admin: KafkaAdminClient, found: int, wanted: int) -> None:
        """The input topic has more partitions now. Keys name the input partition, so no
        page moves.
        """
        if found < wanted:
            admin.create_partitions({self.name: wanted})
            self._log.info("changelog_widened", topic=self.name, partitions=wanted)

    def _check(self, admin: KafkaAdminClient) -> None:
        """Raises ConfigError if the topic deletes records or refuses large ones."""
        resource = ConfigResource(ConfigResourceType.TOPIC, self.name)
        described = admin.describe_configs([resource], config_filter="all")
        entries = described["topic"][self.name]
        values = {name: str(entry["value"]) for name, entry in entries.items()}
        policy = values.get("cleanup.policy", "")
        if policy != "compact":
            raise ConfigError(
                f"topic {self.name} has cleanup.policy={policy}, which forgets states: "
                "set it to compact, or name a topic of its own"
            )
        largest = int(values.get("max.message.bytes", 0))
        if largest < LARGEST:
            raise ConfigError(
                f"topic {self.name} has max.message.bytes={largest}: "
                f"set it to {LARGEST} or more"
            )

    @contextlib.contextmanager
    def _admin(self) -> Iterator[KafkaAdminClient]:
        try:
            admin = connected(
                KafkaAdminClient,
                **self._settings.connection(),
                bootstrap_timeout_ms=TIMEOUT_MS,
                request_timeout_ms=TIMEOUT_MS,
            )
        except KafkaError as error:
            cause = type(error).__name__
            raise StoreError(
                f"no broker answers for topic {self.name} ({cause})"
            ) from error
        try:
            yield admin
        except KafkaError as error:
            cause = f"{type(error).__name__}: {error}"
            raise StoreError(
                f"topic {self.name} can't be examined or created ({cause})"
            ) from error
        finally:
            admin.close()


def _partitions(admin: KafkaAdminClient, topic: str) -> int:
    """How many the topic has; 0 if there is no such topic."""
    (described,) = admin.describe_topics([topic])
    return len(described["partitions"])
