"""One real Kafka for the whole run, one topic, one receiver and one bundle for each
test.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from deploy.harness.alertmanager import Alertmanager
from deploy.harness.broker import Broker
from deploy.harness.debian import ProgramNotAvailable
from deploy.harness.processes import free_ports
from tests.fakes import write_bundle
from tests.integration.stage import DaemonProcess, WebhookReceiver


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


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle of two features, cpu and mem, that needs no torch."""
    return write_bundle(tmp_path / "bundle")


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    """Not listening until a test starts it."""
    made = WebhookReceiver(free_ports(1)[0])
    yield made
    made.stop()


@pytest.fixture
def alertmanager(tmp_path: Path) -> Iterator[Alertmanager]:
    """A real Alertmanager that has started; the test skips if it cannot be had."""
    try:
        made = Alertmanager(tmp_path / "alertmanager")
    except ProgramNotAvailable as missing:
        pytest.skip(str(missing))
    with made as running:
        yield running


class Start(Protocol):
    """Starts a daemon; ``name`` is that of its state directory and its log, so the same
    name is a restart.
    """

    def __call__(self, name: str = "a", /, **settings: str) -> DaemonProcess: ...


@pytest.fixture
def start(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    bundle: Path,
    receiver: WebhookReceiver,
) -> Iterator[Start]:
    """Daemons on the test's bundle, receiver and (where the test has one) topic; killed
    afterwards if they still run.
    """
    group = f"group-{uuid.uuid4().hex[:12]}"
    common = {
        "KAFKA__GROUP_ID": group,
        "KAFKA__SESSION_TIMEOUT_MS": "6000",
        "MODEL__BUNDLE": str(bundle),
        "ALERTING__WEBHOOK_URL": receiver.url,
        "ALERTING__RETRY_FIRST": "0.05",
        "ALERTING__RETRY_MAX": "0.2",
        "RECOVERY__INTERVAL": "0.5",
    }
    if "topic" in request.fixturenames:
        common["KAFKA__TOPICS"] = request.getfixturevalue("topic")
        common["KAFKA__BOOTSTRAP_SERVERS"] = request.getfixturevalue("broker").bootstrap
    with ExitStack() as stack:

        def started(name: str = "a", /, **settings: str) -> DaemonProcess:
            state = {"RECOVERY__STORE": f"local:{tmp_path / name}"}
            daemon = stack.enter_context(
                DaemonProcess(common | state | settings, tmp_path / f"{name}.log")
            )
            daemon.start()
            return daemon

        yield started
