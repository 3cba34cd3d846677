"""The kafka kind with a real broker: alerts are records, keyed by their stream."""

from __future__ import annotations

import json

from kafka import KafkaConsumer

from deploy.harness.broker import Broker
from detector.kafka.settings import KafkaSettings
from detector.notify.labels import Labelling
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.kafka import KafkaReceiverSettings, KafkaTopic
from tests.unit.detector.notify.receivers.posts import (
    ENDED,
    FIRED,
    backlog,
    post,
    storm,
)

LIMIT_MS = 10_000


def receiver(bootstrap: str, topic: str) -> KafkaTopic:
    settings = KafkaReceiverSettings(name="bus", topic=topic)
    kafka = KafkaSettings(bootstrap_servers=(bootstrap,), topics=("metrics",))
    return settings.receiver(ReceiverContext(Labelling({"site": "north"}), kafka=kafka))


def test_alerts_are_records_in_order_keyed_by_their_stream(
    broker: Broker, topic: str
) -> None:
    at = receiver(broker.bootstrap, topic)
    for each in (post(FIRED), post(ENDED), storm(20), backlog()):
        at.deliver(each)
    at.close()
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap,
        auto_offset_reset="earliest",
        consumer_timeout_ms=LIMIT_MS,
    )
    records = [next(consumer) for _ in range(23)]
    consumer.close()
    keys = [record.key.decode() for record in records]
    assert keys[:2] == [FIRED.stream] * 2
    assert len(set(keys)) == 22
    assert keys[-1] == "(backlog)"
    began, ended = (json.loads(record.value) for record in records[:2])
    assert (began["status"], ended["status"]) == ("firing", "resolved")
    assert began["labels"]["site"] == "north"
    assert began["fingerprint"] == ended["fingerprint"]
    assert dict(records[0].headers)["idempotency-key"].endswith(b"-fired")
