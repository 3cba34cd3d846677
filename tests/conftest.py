"""What several rooms of the tests share: one real Kafka for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deploy.demo.broker import Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """The embedded Kafka that integration tests share; a test that kills a broker makes its own."""
    with Broker() as running:
        yield running
