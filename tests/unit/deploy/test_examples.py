"""The example files: what they set exists, and what they suggest works too."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from detector.kafka.settings import KafkaSettings
from detector.settings import load as settings
from detector.web.server import ROUTES

DEPLOY = Path(__file__).parents[3] / "deploy"
TOML = DEPLOY / "streamwarden.toml"
KUBERNETES = (DEPLOY / "kubernetes.yaml").read_text()
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(KUBERNETES))
KINDS = {document["kind"]: document for document in DOCUMENTS}
HEADLESS = KINDS["Service"]
STATEFUL_SET = KINDS["StatefulSet"]
POD = STATEFUL_SET["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICE = COMPOSE["services"]["streamwarden"]


@pytest.fixture(autouse=True)
def _no_settings_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)


def test_the_settings_that_are_commented_out_load_too(tmp_path: Path) -> None:
    commented = re.compile(r"^# (?=\w+ = |\[\[)", re.MULTILINE)
    text, count = commented.subn("", TOML.read_text())
    assert count == 4
    path = tmp_path / "all.toml"
    path.write_text(text)
    loaded = settings.load(path)
    assert loaded.model.timezone == "Europe/Berlin"
    assert [own.zone for own in loaded.model.timezones] == ["America/New_York"]


def test_the_environment_of_the_pod_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "webhook"
    secret.write_text("secret")
    for each in CONTAINER["env"]:
        name = each["name"]
        value = each.get("value", "streamwarden-0")
        monkeypatch.setenv(name, str(secret) if name.endswith("_FILE") else value)
    loaded = settings.load()
    assert loaded.kafka.topics == ("metrics",)
    assert len(loaded.alerting.destinations()) == 1


def test_kubernetes_knows_every_field() -> None:
    version = kubernetes_validate.latest_version()
    for document in DOCUMENTS:
        kubernetes_validate.validate(document, version, strict=True)


def test_the_probes_ask_for_routes_that_exist() -> None:
    probes = ["startupProbe", "livenessProbe", "readinessProbe"]
    paths = [CONTAINER[probe]["httpGet"]["path"] for probe in probes]
    assert paths == ["/-/healthy", "/-/healthy", "/-/ready"]
    assert set(paths) <= ROUTES.keys()


def test_a_stop_has_ten_seconds_more_than_it_may_take() -> None:
    deadline = settings.load().shutdown_deadline
    assert POD["terminationGracePeriodSeconds"] == deadline + 10
    assert SERVICE["stop_grace_period"] == f"{deadline + 10:g}s"


def test_a_member_comes_back_under_its_name_with_all_that_it_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything that the daemon writes is on the pod's own volume, or in Kafka."""
    environment = {each["name"]: each for each in CONTAINER["env"]}
    name = environment.pop("DETECTOR_KAFKA__GROUP_INSTANCE_ID")
    assert name["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    mounts = {each["name"]: each["mountPath"] for each in CONTAINER["volumeMounts"]}
    (claim,) = STATEFUL_SET["spec"]["volumeClaimTemplates"]
    for setting in ("STORE", "DEAD_LETTERS"):
        key = f"DETECTOR_RECOVERY__{setting}"
        monkeypatch.setenv(key, environment[key]["value"])
    recovery = settings.load().recovery
    assert recovery.topic is not None, "states move with their partitions"
    assert str(recovery.dead_letter_directory) == mounts[claim["metadata"]["name"]]
    assert STATEFUL_SET["spec"]["serviceName"] == HEADLESS["metadata"]["name"]


def test_a_name_of_each_pod_is_one_that_a_member_may_have() -> None:
    name = STATEFUL_SET["metadata"]["name"]
    assert KafkaSettings(group_instance_id=f"{name}-0").group_instance_id


def test_the_containers_daemon_loads_and_keeps_everything_on_its_volume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = {"KAFKA": "broker:9092"}
    for name, value in SERVICE["environment"].items():
        monkeypatch.setenv(name, _interpolated(value, given))
    loaded = settings.load()
    assert loaded.kafka.bootstrap_servers == ("broker:9092",)
    assert not loaded.alerting.destinations()
    (mount,) = SERVICE["volumes"]
    volume, place = mount.split(":")
    assert volume in COMPOSE["volumes"]
    assert str(loaded.recovery.directory) == place
    assert str(loaded.recovery.dead_letter_directory) == place


def test_the_container_is_asked_what_the_image_asks() -> None:
    """And is restarted whatever ended it, unless a person stopped it."""
    asked = SERVICE["healthcheck"]["test"]
    assert asked[0] == "CMD"
    assert "/-/healthy" in asked[-1]
    assert asked[-1] in (DEPLOY.parent / "Dockerfile").read_text()
    assert SERVICE["restart"] == "unless-stopped"


def _interpolated(value: str, given: dict[str, str]) -> str:
    """As Compose does: ``${NAME:-default}`` and ``${NAME:?message}``."""
    pattern = r"\$\{(\w+)(?::([-?])([^}]*))?\}"

    def put_in(found: re.Match[str]) -> str:
        name, kind, text = found.groups()
        default = text if kind == "-" else ""
        return given.get(name, default)

    return re.sub(pattern, put_in, value)
