"""What several rooms of the tests share: one real Kafka for each worker of a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.harness.broker import Broker
from deploy.harness.debian import ProgramNotAvailable, find_program


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


@pytest.fixture(scope="session")
def promtool() -> Path:
    """Prometheus' own tool; the test is skipped with the reason if it cannot be had."""
    try:
        return find_program("prometheus", "promtool")
    except ProgramNotAvailable as error:
        pytest.skip(f"promtool cannot be had: {error}")
