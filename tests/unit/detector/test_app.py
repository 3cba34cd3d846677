"""A stop saves what was scored, whatever else fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from detector.app import Daemon
from detector.errors import ConfigError
from detector.metrics import Metrics
from detector.notify.delivery import Delivery, RetryPolicy
from detector.recovery.store_local import LocalStore
from detector.settings.load import Settings
from detector.shutdown import Cleanups
from tests.fakes import FakeClock, MemoryStore
from tests.unit.detector.cli.checks.listeners import listening
from tests.unit.detector.consumer.rig import P, ScriptedSource, poll


class BrokenDelivery(Delivery):
    """Fails when it is stopped."""

    def stop(self, deadline: float) -> None:
        raise ZeroDivisionError


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def daemon(tmp_path: Path, store: MemoryStore) -> Iterator[Daemon]:
    settings = Settings.model_validate(
        {
            "kafka": {"topics": ("metrics",)},
            "recovery": {"dead_letters": tmp_path},
            "web": {"listen": "127.0.0.1:0"},
        }
    )
    daemon = Daemon(settings, FakeClock(), store)
    daemon._parts.web.start()
    yield daemon
    daemon._parts.worker.close(timeout=5)
    daemon._parts.dead_letters.close()
    daemon._parts.web.stop()


def test_the_last_checkpoint_is_written_although_the_delivery_fails(
    daemon: Daemon, store: MemoryStore
) -> None:
    parts = daemon._parts
    delivery = BrokenDelivery(
        parts.outbox, {}, parts.dead_letters, RetryPolicy(), Metrics()
    )
    daemon._parts = replace(parts, delivery=delivery)
    source = ScriptedSource([], poll())
    parts.loop.partitions.assigned([P])
    parts.worker.submit(lambda store: None).result(timeout=10)
    for _ in range(2):
        parts.loop.turn(source, threading.Event())
    with pytest.raises(ZeroDivisionError):
        daemon._drain(source, Cleanups())
    assert source.commits == [{P: 2}]
    assert store.heads[P].offset == 2
    assert parts.loop.health.stopping


def test_a_daemon_that_cannot_start_leaves_its_store_to_the_next(
    tmp_path: Path,
) -> None:
    with listening() as port:
        settings = Settings.model_validate(
            {
                "kafka": {"topics": ("metrics",)},
                "recovery": {"store": f"local:{tmp_path}"},
                "web": {"listen": f"127.0.0.1:{port}"},
            }
        )
        with pytest.raises(ConfigError, match="can't be bound"):
            Daemon(settings)
    LocalStore(tmp_path).close()
