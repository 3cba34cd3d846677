"""Commands at a running daemon: carried out whole, or refused with the reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from detector.app import Daemon
from detector.errors import BundleError, ConfigError, DetectorError
from detector.metrics import ControlCommand
from detector.settings.load import Settings
from detector.web.control import Asked, Done
from tests.fakes import FakeClock, MemoryStore, raw_points, write_bundle
from tests.unit.detector.consumer.rig import P, ScriptedSource
from tests.unit.detector.notify.alerts import fired

BEGIN = 1_700_000_000.0  # epoch seconds
NEVER = 10.0  # seconds until a test gives up


def given_in(folder: Path) -> dict[str, dict[str, Any]]:
    """Settings of a daemon with a bundle `old`."""
    return {
        "kafka": {"topics": ("metrics",)},
        "model": {"bundle": write_bundle(folder / "old")},
        "recovery": {"dead_letters": folder},
        "web": {"listen": "127.0.0.1:0"},
    }


class Running:
    """A daemon whose loop turns when the test says so."""

    def __init__(
        self, folder: Path, given: dict[str, dict[str, Any]] | None = None
    ) -> None:
        self.folder = folder
        self.clock = FakeClock()
        self.given = given or given_in(folder)
        self.fault: DetectorError | None = None
        self.daemon = Daemon(self.load(), self.clock, MemoryStore(), self.load)
        self.parts = self.daemon._parts
        self.parts.reloader.start()
        self._offset = 0
        self.parts.loop.partitions.assigned([P])
        self.parts.worker.submit(lambda store: None).result(timeout=NEVER)
        self.turn()

    def load(self) -> Settings:
        if self.fault is not None:
            raise self.fault
        return Settings.model_validate(self.given)

    def set(self, room: str, **values: Any) -> None:
        """As a person edits the file."""
        self.given[room] = {**self.given.get(room, {}), **values}

    def turn(self, *polls: Any) -> None:
        self.parts.loop.turn(ScriptedSource(*polls), threading.Event())

    def feed(self, count: int) -> None:
        """So many points of one stream, all as expected."""
        times = [BEGIN + 60.0 * (self._offset + i) for i in range(count)]
        values = [(0.0, 0.0)] * count
        raw = raw_points(["a"] * count, times, values, first=self._offset)
        self._offset += count
        self.turn([raw])

    def ask(self, command: ControlCommand, **asked: Any) -> Done:
        """Have a command carried out while the loop turns."""
        future = self.parts.reloader.submit(command, Asked(**asked))
        return self.until(future)

    def until(self, future: Future[Done]) -> Done:
        ended = threading.Event()
        future.add_done_callback(lambda _: ended.set())
        for _ in range(int(NEVER / 0.01)):
            if ended.wait(0.01):
                return future.result()
            self.turn()
        raise AssertionError("the command was not carried out")

    @property
    def bundle(self) -> str:
        return self.parts.loop._pipeline.parts.setup.bundle.path.name

    def value(self, name: str, **labels: str) -> float | None:
        return self.parts.metrics.registry.get_sample_value(name, labels)

    def close(self) -> None:
        self.parts.reloader.stop()
        self.parts.worker.close(timeout=5)
        self.parts.dead_letters.close()
        self.parts.web.start()
        self.parts.web.stop()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    made = Running(tmp_path)
    yield made
    made.close()


def newer(running: Running, name: str = "newer", **how: Any) -> Path:
    return write_bundle(running.folder / name, warm_up=4, **how)


def test_a_reload_puts_bundle_and_settings_in_force(running: Running) -> None:
    running.feed(4)
    running.set("model", bundle=newer(running))
    running.set("alerting", false_alarms_per_week=0.1)
    running.set("recovery", interval=3.0)
    done = running.ask(ControlCommand.RELOAD)
    assert running.bundle == "newer"
    assert (done.streams, done.cold) == (1, 1)
    assert done.changed == [
        "DETECTOR_MODEL__BUNDLE",
        "DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK",
        "DETECTOR_RECOVERY__INTERVAL",
    ]
    assert running.value("detector_false_alarms_per_week") == 0.1
    assert running.value("detector_checkpoint_interval_seconds") == 3
    assert running.value("detector_state_resets_total", cause="taken_over") == 1
    assert running.parts.loop.checkpoints.schedule.interval == 3
    labels = {"command": "reload", "result": "applied"}
    assert running.value("detector_reloads_total", **labels) == 1


def test_records_are_decoded_as_the_new_settings_say(running: Running) -> None:
    running.feed(2)
    running.set("kafka", earliest=BEGIN + 10_000.0)
    running.ask(ControlCommand.RELOAD)
    running.feed(3)
    assert running.value("detector_scored_total") == 2
    assert running.value("detector_rejected_total", reason="timestamp") == 3


def test_a_bundle_that_was_replaced_in_its_place_is_another_one(
    running: Running,
) -> None:
    before = running.parts.loop._pipeline.parts.setup.bundle.digest
    newer(running, "old")
    done = running.ask(ControlCommand.RELOAD)
    assert running.parts.loop._pipeline.parts.setup.bundle.digest != before
    assert "is in force in place of" in done.message


def refused(running: Running, match: str, **asked: Any) -> None:
    command = asked.pop("command", ControlCommand.RELOAD)
    with pytest.raises(DetectorError, match=match), capture_logs() as logs:
        running.ask(command, **asked)
    assert running.bundle == "old"
    labels = {"command": command.value, "result": "refused"}
    assert running.value("detector_reloads_total", **labels) == 1
    is_reload = command is ControlCommand.RELOAD
    assert running.value("detector_last_reload_successful") == 1 - is_reload
    last = running.parts.reloader.state().last
    assert last is not None
    assert last.result == "refused"
    (line,) = [line for line in logs if line["event"] == "change_refused"]
    assert line["cause"] == last.message


def test_a_file_with_a_fault_leaves_all_as_it_was(running: Running) -> None:
    running.fault = ConfigError("no such setting: bundel")
    refused(running, "no such setting: bundel")
    running.fault = None
    running.ask(ControlCommand.RELOAD)
    assert running.value("detector_last_reload_successful") == 1


def test_a_fault_of_the_program_is_refused_too(running: Running) -> None:
    running.set("model", bundle=7)
    refused(running, r"a fault of the program \(ValidationError\)")


def test_a_damaged_bundle_leaves_all_as_it_was(running: Running) -> None:
    path = newer(running)
    (path / "model.onnx").write_bytes(b"cut off")
    running.set("model", bundle=path)
    running.set("alerting", false_alarms_per_week=0.1)
    refused(running, "is not the file its manifest was made for")
    assert running.value("detector_false_alarms_per_week") == 1


@pytest.mark.parametrize(
    ("room", "name", "value"),
    [
        ("kafka", "topics", ("others",)),
        ("kafka", "group_id", "another"),
        ("recovery", "store", "local:elsewhere"),
        ("web", "listen", "127.0.0.1:1"),
        ("alerting", "labels", {"site": "north"}),
    ],
)
def test_a_setting_that_needs_a_restart_is_named(
    running: Running, room: str, name: str, value: Any
) -> None:
    running.set(room, **{name: value})
    running.set("model", bundle=newer(running))
    variable = f"DETECTOR_{room.upper()}__{name.upper()}"
    refused(running, rf"{variable}: changed, and needs a restart")


def test_receivers_and_routes_follow_a_reload(tmp_path: Path) -> None:
    hook = {"name": "hook", "kind": "webhook", "url": "http://127.0.0.1:1/a"}
    given = {**given_in(tmp_path), "alerting": {"receivers": [hook]}}
    again = Running(tmp_path, given)
    before = again.parts.delivery._receivers["hook"]
    again.set("alerting", receivers=[{**hook, "url": "http://127.0.0.1:1/b"}])
    routes = [{"receiver": "hook", "severity": "critical"}, {"receiver": ""}]
    again.set("alerting", routes=routes)
    again.ask(ControlCommand.RELOAD)
    assert again.parts.delivery._receivers["hook"] is not before
    assert again.parts.outbox._routing.targets(fired("a")) == ()

    again.set("alerting", receivers=[hook, {**hook, "name": "other"}], routes=[])
    with pytest.raises(ConfigError, match="names of the receivers: changed, and needs"):
        again.ask(ControlCommand.RELOAD)
    again.close()


def test_a_receiver_goes_on_if_its_settings_are_equal(tmp_path: Path) -> None:
    """It may know the messages of open incidents, as a bot of Slack does."""
    bot = {"name": "bot", "kind": "slack", "token": "xoxb-1", "channel": "C1"}
    template = tmp_path / "body"
    template.write_text("{{ title }}")
    reading = {"name": "reading", "url": "http://127.0.0.1:1/a"}
    reading |= {"template_file": str(template), "content_type": "text/plain"}
    alerting = {"receivers": [bot, reading]}
    running = Running(tmp_path, {**given_in(tmp_path), "alerting": alerting})
    before = dict(running.parts.delivery._receivers)
    running.set("alerting", false_alarms_per_week=0.1)
    running.ask(ControlCommand.RELOAD)
    after = running.parts.delivery._receivers
    assert after["bot"] is before["bot"]
    assert after["reading"] is not before["reading"]  # the file may hold another one
    running.set("alerting", receivers=[{**bot, "token": "xoxb-2"}, reading])
    running.ask(ControlCommand.RELOAD)
    assert running.parts.delivery._receivers["bot"] is not before["bot"]
    running.close()


@pytest.mark.parametrize(
    ("topics", "topic", "cause"),
    [
        (("metrics",), "metrics", "metrics is an input topic"),
        (("^.*",), "others", "that the \\^regex of topics matches: changed"),
    ],
    ids=["named", "matched"],
)
def test_no_receiver_writes_to_an_input_topic_after_a_reload(
    tmp_path: Path, topics: tuple[str, ...], topic: str, cause: str
) -> None:
    receiver = {"kind": "kafka", "name": "bus", "topic": "alerts"}
    given = {**given_in(tmp_path), "alerting": {"receivers": [receiver]}}
    given["kafka"] = {"topics": topics}
    running = Running(tmp_path, given)
    running.set("alerting", receivers=[{**receiver, "topic": topic}])
    with pytest.raises(ConfigError, match=cause):
        running.ask(ControlCommand.RELOAD)
    running.close()


def test_a_bundle_of_other_features_needs_a_restart(running: Running) -> None:
    running.set("model", bundle=newer(running, features=("disk", "swap")))
    refused(running, "restart the daemon with it")


def test_shadow_promote_and_roll_back(running: Running) -> None:
    running.feed(4)
    path = newer(running)
    running.ask(ControlCommand.SHADOW, bundle=str(path))
    running.feed(2)
    refused(running, "warmed up for 0% of the streams", command=ControlCommand.PROMOTE)
    running.feed(6)
    compared = running.parts.reloader.compared()
    assert compared is not None
    assert compared.report.warm == 1

    done = running.ask(ControlCommand.PROMOTE)
    assert (running.bundle, done.cold) == ("newer", 0)
    # the file still names the old one
    state = running.parts.reloader.state()
    assert state.at_restart == ["DETECTOR_MODEL__BUNDLE"]
    assert state.shadow is not None

    done = running.ask(ControlCommand.ROLLBACK)
    assert (running.bundle, done.cold) == ("old", 0)
    assert running.parts.reloader.state().at_restart == []
    running.ask(ControlCommand.SHADOW)
    assert running.parts.reloader.compared() is None


def test_a_reload_to_the_bundle_in_shadow_finds_it_warm(running: Running) -> None:
    running.feed(4)
    path = newer(running)
    running.set("model", shadow=path)
    running.ask(ControlCommand.RELOAD)
    running.feed(6)
    running.set("model", bundle=path, shadow=None)
    done = running.ask(ControlCommand.RELOAD)
    assert (running.bundle, done.cold) == ("newer", 0)
    assert running.parts.reloader.state().shadow is None


def test_a_roll_back_undoes_settings_too(running: Running) -> None:
    running.set("alerting", false_alarms_per_week=0.1)
    running.ask(ControlCommand.RELOAD)
    running.ask(ControlCommand.ROLLBACK)
    assert running.value("detector_false_alarms_per_week") == 1
    at_restart = running.parts.reloader.state().at_restart
    assert at_restart == ["DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK"]


def promote_newer(running: Running) -> Path:
    path = newer(running)
    running.feed(4)
    running.ask(ControlCommand.SHADOW, bundle=str(path))
    running.feed(6)
    running.ask(ControlCommand.PROMOTE)
    return path


def test_a_reload_says_that_it_would_put_a_replaced_bundle_back(
    running: Running,
) -> None:
    path = promote_newer(running)
    running.set("recovery", interval=3.0)
    with pytest.raises(
        ConfigError, match=r"would put .*old back in force: the settings"
    ):
        running.ask(ControlCommand.RELOAD)
    assert running.bundle == "newer"
    running.set("model", bundle=path)
    running.ask(ControlCommand.RELOAD)
    assert running.bundle == "newer"
    # by then the file says so
    running.set("model", bundle=running.folder / "old")
    running.ask(ControlCommand.RELOAD)
    assert running.bundle == "old"


def test_a_reload_does_not_put_a_bundle_back_that_was_rolled_back(
    running: Running,
) -> None:
    running.set("model", bundle=newer(running))
    running.ask(ControlCommand.RELOAD)
    running.ask(ControlCommand.ROLLBACK)
    with pytest.raises(ConfigError, match=r"would put .*newer back in force"):
        running.ask(ControlCommand.RELOAD)
    assert running.bundle == "old"
    write_bundle(running.folder / "newer", warm_up=5)  # mended in its place
    running.ask(ControlCommand.RELOAD)
    assert running.bundle == "newer"


def test_a_shadow_that_ends_after_it_was_checked_is_not_put_in_force(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.feed(4)
    running.ask(ControlCommand.SHADOW, bundle=str(newer(running)))
    beside = running.parts.loop.boundary.beside
    assert beside.shadow is not None

    def ends_once_asked() -> float:
        beside.end()
        return 1.0

    monkeypatch.setattr(beside.shadow.comparison, "warm_share", ends_once_asked)
    with pytest.raises(ConfigError, match="has ended meanwhile"):
        running.ask(ControlCommand.PROMOTE)
    assert running.bundle == "old"


def test_what_fails_after_an_exchange_does_not_say_that_nothing_was_changed(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no thread left")

    running.feed(4)
    third = write_bundle(running.folder / "third", warm_up=5)
    running.set("model", bundle=newer(running), shadow=third)
    monkeypatch.setattr(running.parts.loop.boundary, "shadow", fail)
    monkeypatch.setattr(running.parts.delivery, "use", fail)
    done = running.ask(ControlCommand.RELOAD)
    assert running.bundle == "newer"
    assert "the shadow did not follow (RuntimeError: no thread left)" in done.message
    assert "receivers, metrics and log did not follow" in done.message
    state = running.parts.reloader.state()
    assert state.at_restart == []
    running.ask(ControlCommand.ROLLBACK)
    assert running.bundle == "old"


def test_there_is_nothing_to_go_back_to_at_first(running: Running) -> None:
    refused(running, "nothing to go back to", command=ControlCommand.ROLLBACK)


def test_a_shadow_that_cannot_score_the_same_streams_is_refused(
    running: Running,
) -> None:
    refused(
        running,
        "is the one in force",
        command=ControlCommand.SHADOW,
        bundle=str(running.folder / "old"),
    )


def test_a_daemon_may_start_with_a_shadow(tmp_path: Path) -> None:
    class Shadowed(Running):
        def load(self) -> Settings:
            self.set("model", shadow=write_bundle(self.folder / "newer", warm_up=4))
            return super().load()

    running = Shadowed(tmp_path)
    assert running.value("detector_shadow_running") == 1
    running.feed(2)
    running.close()


def test_a_damaged_shadow_keeps_a_daemon_from_starting(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "kafka": {"topics": ("metrics",)},
            "model": {"shadow": tmp_path / "none"},
            "recovery": {"dead_letters": tmp_path},
        }
    )
    with pytest.raises(BundleError, match="no bundle at"):
        Daemon(settings, FakeClock(), MemoryStore())
