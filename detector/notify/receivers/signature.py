"""How a receiver can tell that a post is from this daemon, and is no replayed one.

Both schemes sign the time of the post with its body, by HMAC-SHA256 (RFC 2104).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable

#: Makes the headers of a post, from its key, its content, and wall time in epoch
#: seconds.
Signer = Callable[[str, bytes, float], dict[str, str]]

#: Before the base64 text of a secret, in the scheme of Standard Webhooks.
_STANDARD_PREFIX = "whsec_"


def signature(secret: bytes, sent: int, content: bytes) -> str:
    """HMAC-SHA256 over ``{sent}:{content}``, hexadecimal."""
    signed = f"{sent}:".encode() + content
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()


def own_signer(secret: str) -> Signer:
    """``X-Streamwarden-Timestamp`` and ``X-Streamwarden-Signature``."""
    key_of_secret = secret.encode()

    def sign(_key: str, content: bytes, now: float) -> dict[str, str]:
        sent = int(now)
        digest = signature(key_of_secret, sent, content)
        return {
            "X-Streamwarden-Timestamp": str(sent),
            "X-Streamwarden-Signature": f"sha256={digest}",
        }

    return sign


def standard_signer(secret: str) -> Signer:
    """``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``.

    Source: https://github.com/standard-webhooks/standard-webhooks, version 1.0.0.
    Raises ValueError if the secret is not base64, with or without ``whsec_``.
    """
    key_of_secret = _decoded(secret)

    def sign(key: str, content: bytes, now: float) -> dict[str, str]:
        sent = str(int(now))
        signed = f"{key}.{sent}.".encode() + content
        digest = hmac.new(key_of_secret, signed, hashlib.sha256).digest()
        return {
            "webhook-id": key,
            "webhook-timestamp": sent,
            "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
        }

    return sign


def _decoded(secret: str) -> bytes:
    text = secret.removeprefix(_STANDARD_PREFIX)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError(
            'it is not base64, as signature = "standard" wants it:'
            " make one with `openssl rand -base64 32`"
        ) from None
