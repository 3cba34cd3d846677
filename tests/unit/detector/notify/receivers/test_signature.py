"""Signatures: a receiver's own check of them holds."""

from __future__ import annotations

import base64

import pytest
from pydantic import ValidationError

from detector.notify.receivers.signature import own_signer, standard_signer
from detector.notify.receivers.webhook import WebhookSettings


def test_a_standard_signature_is_that_of_the_specification() -> None:
    # the example of the specification's reference libraries
    sign = standard_signer("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    content = b'{"test": 2432232314}'
    headers = sign("msg_p5jXN8AQM9LWM0D4loKWxJek", content, 1614265330.9)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_a_signature_covers_time_and_content() -> None:
    for sign in (own_signer("s"), standard_signer(base64.b64encode(b"s").decode())):
        made = sign("key", b"content", 1.0)
        assert sign("key", b"content", 2.0) != made
        assert sign("key", b"another", 1.0) != made


def test_a_secret_that_is_not_base64_is_refused_with_the_remedy() -> None:
    given = {"name": "h", "url": "http://h", "secret": "!", "signature": "standard"}
    with pytest.raises(ValidationError, match="openssl rand -base64 32") as fault:
        WebhookSettings.model_validate(given)
    assert "'!'" not in str(fault.value.errors(include_input=False))
