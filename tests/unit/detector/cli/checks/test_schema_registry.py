"""``check`` asks the schema registry, and shows no secret of it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from deploy.harness.schema_registry import SchemaRegistryServer
from detector.cli.checks.schema_registry import registry_faults
from detector.settings.load import load

SECRET = "s3cret-word"


@pytest.fixture
def server() -> Iterator[SchemaRegistryServer]:
    with SchemaRegistryServer() as made:
        yield made


def faults(monkeypatch: pytest.MonkeyPatch, **table: object) -> list[str]:
    monkeypatch.setenv("DETECTOR_KAFKA__SCHEMA_REGISTRY", json.dumps(table))
    return list(registry_faults(load(None)))


def test_without_a_registry_there_is_nothing_to_ask() -> None:
    assert not list(registry_faults(load(None)))


def test_a_registry_that_answers_is_no_fault(
    monkeypatch: pytest.MonkeyPatch, server: SchemaRegistryServer
) -> None:
    assert faults(monkeypatch, url=server.url) == []
    server.register("a/b", {"schema": "{}", "schemaType": "JSON"})
    assert faults(monkeypatch, url=server.url) == []


def test_one_address_that_answers_is_enough(
    monkeypatch: pytest.MonkeyPatch, server: SchemaRegistryServer
) -> None:
    with SchemaRegistryServer() as gone:
        pass
    assert faults(monkeypatch, url=[gone.url, server.url]) == []


def test_a_registry_that_is_down_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with SchemaRegistryServer() as gone:
        pass
    (fault,) = faults(monkeypatch, url=gone.url)
    assert fault.startswith("[kafka.schema_registry]: the schema registry 127.0.0.1:")
    assert "can't be reached" in fault


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"user": "u", "password": SECRET}, "Basic other"),
        ({"bearer_token": SECRET}, "Bearer other"),
    ],
)
def test_credentials_that_are_refused_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
    server: SchemaRegistryServer,
    given: dict[str, str],
    right: str,
) -> None:
    server.authorization = right
    (fault,) = faults(monkeypatch, url=server.url, **given)
    assert "answered 401: check its user or bearer_token" in fault
    assert SECRET not in fault


@pytest.mark.parametrize("status", [500, 404])
def test_what_is_no_registry_is_named(
    monkeypatch: pytest.MonkeyPatch, server: SchemaRegistryServer, status: int
) -> None:
    server.failing = status
    (fault,) = faults(monkeypatch, url=server.url)
    assert "does not answer as" in fault if status == 404 else "answered 500" in fault
