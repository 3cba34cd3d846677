"""The first request of a SASL login: Kafka's SaslHandshake, version 1 (KIP-43).

Its answer tells apart what a failed login does not: a listener without SASL, and a
listener without this mechanism. No credentials are sent.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import Final

from detector.errors import DetectorError

_API_KEY: Final = 17
_VERSION: Final = 1
_CORRELATION: Final = 1
_CLIENT: Final = b"streamwarden-check"
_UNSUPPORTED_MECHANISM: Final = 33
_ILLEGAL_SASL_STATE: Final = 34  # a listener without SASL answers so
_LARGEST: Final = 1 << 16  # bytes of an answer; more is no Kafka


class NotABrokerError(DetectorError):
    """The other side hung up, or its answer is not one of Kafka's protocol."""


@dataclass(frozen=True, slots=True)
class SaslHandshake:
    """What a listener answered.

    Attributes:
        error: Kafka's error code, 0 for none.
        mechanisms: those that it offers.
    """

    error: int
    mechanisms: tuple[str, ...]

    @property
    def no_sasl(self) -> bool:
        return self.error == _ILLEGAL_SASL_STATE

    @property
    def unsupported(self) -> bool:
        return self.error == _UNSUPPORTED_MECHANISM


def shake_hands(connection: socket.socket, mechanism: str) -> SaslHandshake:
    """Ask a listener for a mechanism. Raises NotABrokerError."""
    header = struct.pack(">hhi", _API_KEY, _VERSION, _CORRELATION)
    request = header + _string(_CLIENT) + _string(mechanism.encode())
    try:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _read(connection, 4))
        if not 10 <= size <= _LARGEST:
            raise NotABrokerError("it answered in another protocol")
        return _decode(_read(connection, size))
    except (OSError, struct.error, UnicodeDecodeError):
        raise NotABrokerError("it hung up, or answered in another protocol") from None


def _string(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _decode(answer: bytes) -> SaslHandshake:
    """Correlation id, error code, and an array of strings."""
    _, error, count = struct.unpack_from(">ihi", answer)
    position = struct.calcsize(">ihi")
    mechanisms = []
    for _ in range(count):
        (length,) = struct.unpack_from(">h", answer, position)
        start = position + 2
        position = start + length
        mechanisms.append(answer[start:position].decode())
    return SaslHandshake(error, tuple(mechanisms))


def _read(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the listener hung up")
        received += part
    return received
