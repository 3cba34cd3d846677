"""What the table of the schema registry takes, and that its secrets stay hidden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from detector.errors import ConfigError
from detector.kafka.schema_registry_settings import SchemaRegistrySettings

URL = "http://registry:8081"


def test_addresses_are_a_list_without_slashes_at_their_ends() -> None:
    found = SchemaRegistrySettings.model_validate({"url": f"{URL}/,https://b"})
    assert found.url == (URL, "https://b")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"url": "registry:8081"}, "http://"),
        ({"url": ""}, "at least 1"),
        ({"url": "http://user:hidden@b"}, "set user and password"),
        ({"url": URL, "user": "u"}, "together"),
        (
            {"url": URL, "user": "u", "password": "hidden", "bearer_token": "hidden"},
            "either",
        ),
        ({"url": URL, "tls_key": "k.pem"}, "without tls_certificate"),
        ({"url": URL, "password_file": "/nowhere"}, "can't be read"),
    ],
)
def test_a_wrong_table_is_refused_without_its_secrets(
    given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        SchemaRegistrySettings.model_validate(given)
    messages = "; ".join(error["msg"] for error in caught.value.errors())
    assert sentence in messages
    assert "hidden" not in messages


def test_a_secret_may_be_in_a_file_and_is_not_shown(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("hidden\n")
    given = {"url": URL, "bearer_token_file": str(file)}
    found = SchemaRegistrySettings.model_validate(given)
    assert found.headers() == {"Authorization": "Bearer hidden"}
    assert "hidden" not in repr(found)


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("nothing")
    found = SchemaRegistrySettings(url=(URL,), tls_ca=file)
    with pytest.raises(ConfigError, match=r"schema_registry.*ca\.pem"):
        found.tls()
