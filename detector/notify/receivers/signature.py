"""How a receiver can tell that a post is from this daemon."""

from __future__ import annotations

import hashlib
import hmac


def signature(secret: bytes, sent: int, content: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) over ``{sent}:{content}``, hexadecimal.

    ``sent`` is wall time in epoch seconds: it lets a receiver refuse a replayed post.
    """
    signed = f"{sent}:".encode() + content
    return hmac.new(secret, signed, hashlib.sha256).hexdigest()
