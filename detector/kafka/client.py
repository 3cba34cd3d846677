"""Makes a kafka-python client, or leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kafka.errors import KafkaError
from kafka.net.compat import KafkaNetClient

_Client = TypeVar("_Client")


def connected(kind: Callable[..., _Client], **config: Any) -> _Client:
    """``kind(**config)``: a consumer, producer or admin client.

    Raises KafkaError if no broker answers. kafka-python (3.0.12) then leaves the I/O
    thread and the sockets of the client open; this closes them.
    """
    clients: list[Any] = []

    def made(**settings: Any) -> Any:
        clients.append(KafkaNetClient(**settings))
        return clients[-1]

    try:
        return kind(kafka_client=made, **config)
    except KafkaError:
        for client in clients:
            client.close()
        raise
