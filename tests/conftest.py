"""What several rooms of the tests share: one real Kafka for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.harness.broker import Broker


@pytest.fixture(scope="session")
def broker() -> Iterator[Broker]:
    """The embedded Kafka that integration tests share; a test that kills a broker makes
    its own.
    """
    with Broker() as running:
        yield running


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that a test may kill: the session's own stays up for the others."""
    with Broker(tmp_path / "kafka") as broker:
        yield broker
