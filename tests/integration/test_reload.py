"""Another bundle comes in force under load: no record is lost or scored twice."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.harness.broker import Broker
from detector.cli.main import main
from detector.web.control import Compared
from tests.fakes import write_bundle
from tests.integration.conftest import Start
from tests.integration.stage import (
    DaemonProcess,
    Record,
    WebhookReceiver,
    eventually,
    produce,
)
from tests.integration.test_incidents import WARM, alerts, points

STREAMS = 200
ROUNDS = 20  # polls at least, one point of each stream in each
BEGIN = 1_700_000_000
TOKEN = "a token that nobody guesses"


def a_round(number: int) -> Iterator[Record]:
    """The next point of each stream."""
    for stream in range(STREAMS):
        value = {"timestamp": BEGIN + 60 * number, "cpu": 0.0, "mem": 0.0}
        yield Record(f"s{stream}".encode(), json.dumps(value).encode())


class Load:
    """Produces round after round on a thread of its own, until it is stopped."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self._broker = broker
        self._topic = topic
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.records = 0

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        number = 0
        while not self._ending.is_set() or number < ROUNDS:
            produce(self._broker, self._topic, a_round(number))
            number += 1
            self.records = number * STREAMS


def reload(daemon: DaemonProcess, result: str, count: int) -> None:
    """SIGHUP, and what comes of it."""
    daemon.signal(signal.SIGHUP)
    daemon.await_value("detector_reloads_total", count, command="reload", result=result)


@pytest.mark.parametrize("partitions", [2])
def test_a_reload_under_load_loses_no_record_and_scores_none_twice(
    broker: Broker, topic: str, start: Start, bundle: Path
) -> None:
    daemon = start()
    with Load(broker, topic) as load:
        daemon.await_value("detector_scored_total", 5 * STREAMS)
        (bundle / "model.onnx").write_bytes(b"cut off")
        reload(daemon, "refused", 1)
        assert "is not the file its manifest was made for" in daemon.log_text()
        for number in (1, 2, 3):
            write_bundle(bundle, warm_up=3 + number % 2)
            reload(daemon, "applied", number)
    daemon.await_value("detector_scored_total", load.records)
    assert daemon.value("detector_scored_total") == load.records
    assert daemon.value("detector_records_total") == load.records
    # a record that is scored twice would have been rejected as a duplicate
    assert daemon.value("detector_rejected_total") == 0
    assert daemon.value("detector_skipped_total") == 0
    assert daemon.value("detector_streams") == STREAMS
    daemon.stop()


def ask(daemon: DaemonProcess, *arguments: str) -> None:
    assert main([*arguments, "--url", daemon.url]) == 0


@pytest.mark.parametrize("partitions", [1])
def test_shadow_compare_promote_and_roll_back(
    broker: Broker,
    topic: str,
    start: Start,
    receiver: WebhookReceiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    receiver.start()
    produce(broker, topic, points(0, WARM))
    daemon = start(WEB__TOKEN=TOKEN)
    daemon.await_value("detector_scored_total", len(WARM))
    monkeypatch.setenv("DETECTOR_WEB__TOKEN", TOKEN)
    newer = write_bundle(tmp_path / "newer", warm_up=4)
    ask(daemon, "shadow", str(newer))

    fed = len(WARM)
    outage = [*WARM, *WARM, 30.0, 90.0]
    produce(broker, topic, points(fed, outage))
    fed += len(outage)
    eventually(lambda: len(receiver.notices()) == 1, "a notification")
    daemon.await_value("detector_shadow_alerts_total", 1, status="firing")
    capsys.readouterr()
    ask(daemon, "compare", "--json")
    found = msgspec.json.decode(capsys.readouterr().out, type=Compared)
    assert (found.report.live.incidents, found.report.live.alone) == (1, 0)
    assert (found.report.shadow.incidents, found.report.shadow.alone) == (1, 0)

    ask(daemon, "promote")
    (incident,) = alerts(daemon)["firing"]
    assert incident["startsAt"] == receiver.notices()[0].starts
    digest = json.loads(daemon.get("/api/v1/status")[1])["bundle"]["digest"]
    assert digest == found.shadow.digest
    ask(daemon, "rollback")
    digest = json.loads(daemon.get("/api/v1/status")[1])["bundle"]["digest"]
    assert digest == found.live.digest

    produce(broker, topic, points(fed, [0.0] * 120))
    fed += 120
    eventually(lambda: len(receiver.notices()) == 2, "the end")
    ended = receiver.notices()[1]
    assert (ended.starts, ended.status) == (incident["startsAt"], "resolved")
    daemon.await_value("detector_scored_total", fed)
    assert daemon.value("detector_scored_total") == fed
    assert TOKEN not in daemon.log_text()
    daemon.stop()
