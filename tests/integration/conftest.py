"""One real Kafka for the whole run, one topic for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from deploy.demo.broker import Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """The embedded Kafka that integration tests share; a test that kills a broker makes its own."""
    with Broker() as running:
        yield running


@pytest.fixture
def partitions() -> int:
    """How many partitions ``topic`` has; parametrize it to have another number."""
    return 1


@pytest.fixture
def topic(broker: Broker, partitions: int) -> str:
    """A fresh topic."""
    name = f"metrics-{uuid.uuid4().hex[:12]}"
    broker.create_topic(name, partitions)
    return name
