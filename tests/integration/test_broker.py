"""The embedded broker itself: every other integration test stands on it."""

from __future__ import annotations

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from deploy.harness.broker import Broker, BrokerError


def produce(broker: Broker, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    for value in values:
        producer.send(topic, value, partition=0)
    producer.flush(timeout=30)
    producer.close()


def consume(broker: Broker, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap, consumer_timeout_ms=30_000
    )
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    found = [record.value for _, record in zip(range(count), consumer, strict=False)]
    consumer.close()
    return found


def test_what_is_produced_is_consumed(broker: Broker, topic: str) -> None:
    produce(broker, topic, [b"one", b"two"])
    assert consume(broker, topic, 2) == [b"one", b"two"]


@pytest.mark.parametrize("partitions", [3])
def test_a_topic_has_the_partitions_asked_for(
    broker: Broker, topic: str, partitions: int
) -> None:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap)
    assert consumer.partitions_for_topic(topic) == set(range(partitions))
    consumer.close()


def test_records_survive_kill_and_restart_on_the_same_port(own_broker: Broker) -> None:
    own_broker.create_topic("kept")
    produce(own_broker, "kept", [b"before"])
    bootstrap = own_broker.bootstrap
    own_broker.kill()
    assert not own_broker.running
    own_broker.restart()
    assert own_broker.bootstrap == bootstrap
    produce(own_broker, "kept", [b"after"])
    assert consume(own_broker, "kept", 2) == [b"before", b"after"]


def test_a_broker_that_cannot_start_says_why_and_leaves_nothing_behind() -> None:
    with Broker() as broker:
        broker.stop()
        properties = broker.directory / "server.properties"
        properties.write_text(properties.read_text() + "num.io.threads=0\n")
        with pytest.raises(BrokerError, match=r"num\.io\.threads"):
            broker.start()
        assert not broker.running
        directory = broker.directory
        assert directory.exists()
    assert not directory.exists()
