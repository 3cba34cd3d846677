"""What keeps the daemon from its broker and its topics.

kafka-python retries whatever goes wrong and says only that it gave up. So ``check``
first takes the steps of a connection by itself: resolve, connect, TLS handshake, SASL
handshake (KIP-43). Then it lets the library log in and list the topics.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Set
from pathlib import Path

from kafka import KafkaConsumer
from kafka.errors import AuthorizationError, KafkaError

from detector.cli.checks.connection import (
    NoConnectionError,
    NotTLSError,
    RefusedError,
    opened,
    speaks_tls,
)
from detector.cli.checks.sasl_handshake import (
    NotABrokerError,
    SaslHandshake,
    shake_hands,
)
from detector.clock import SystemClock
from detector.compose import check_topics, own_topics
from detector.errors import ConfigError, StoreError
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.kafka.subscription import Subscription
from detector.phrases import listed
from detector.recovery.store_kafka import KafkaStore
from detector.settings.load import Settings

_BOOTSTRAP_MS = 5000  # for a login, after the connection itself was tried
_NAMED = 5  # topics that a sentence lists
_SERVERS = "DETECTOR_KAFKA__BOOTSTRAP_SERVERS"
_PROTOCOL = "DETECTOR_KAFKA__SECURITY_PROTOCOL"
_FILES = ("ssl_cafile", "ssl_certfile", "ssl_keyfile")


def broker_faults(settings: Settings) -> Iterator[str]:
    """Faults of TLS files, servers, login, topics and the store's topic."""
    try:
        check_topics(settings)
        context = _tls(settings.kafka)
        _reach_one(settings.kafka, context)
        present = _topics(settings.kafka)
    except ConfigError as error:
        yield str(error)
        return
    inputs = Subscription(settings.kafka.topics, own_topics(settings))
    yield from _topic_faults(settings.kafka, inputs, present)
    if settings.recovery.topic:
        try:
            store = KafkaStore(settings.kafka, settings.recovery.topic, SystemClock())
            store.examine()
        except (ConfigError, StoreError) as error:
            yield str(error)


def _tls(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The context that the client makes of its settings. Raises ConfigError."""
    if not kafka.security_protocol.endswith("SSL"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = kafka.ssl_check_hostname
    for name in _FILES:
        _check_readable(name, getattr(kafka, name))
    password = kafka.ssl_password.get_secret_value() if kafka.ssl_password else None
    try:
        if kafka.ssl_cafile:
            context.load_verify_locations(kafka.ssl_cafile)
        else:
            context.load_default_certs()
        if kafka.ssl_certfile:
            # without a password, an encrypted key would make the library ask for one
            context.load_cert_chain(
                kafka.ssl_certfile, kafka.ssl_keyfile, password or ""
            )
    except ssl.SSLError as error:
        files = ", ".join(
            getattr(kafka, name) for name in _FILES if getattr(kafka, name)
        )
        raise ConfigError(
            f"DETECTOR_KAFKA__SSL_…: {files} can't be used for TLS"
            f" ({error.reason or error}): give PEM files, and SSL_PASSWORD of the key"
        ) from None
    return context


def _check_readable(name: str, path: str | None) -> None:
    if not path:
        return
    try:
        Path(path).open("rb").close()
    except OSError as error:
        raise ConfigError(
            f"DETECTOR_KAFKA__{name.upper()}: {path} can't be read"
            f" ({error.strerror}): correct the path"
        ) from None


def _reach_one(kafka: KafkaSettings, context: ssl.SSLContext | None) -> None:
    """One server that answers is enough. Raises ConfigError with the fault of each."""
    found = []
    for server in kafka.bootstrap_servers:
        try:
            _reach(kafka, server, context)
        except ConfigError as error:
            found.append(str(error))
        else:
            return
    raise ConfigError("; ".join(found))


def _reach(kafka: KafkaSettings, server: str, context: ssl.SSLContext | None) -> None:
    """Raises ConfigError if the server can't be reached as the settings say."""
    host, port = _host_and_port(server)
    try:
        with opened(host, port, context) as connection:
            if kafka.sasl_mechanism and kafka.security_protocol.startswith("SASL"):
                _check_sasl(
                    kafka, server, shake_hands(connection, kafka.sasl_mechanism)
                )
    except RefusedError as error:
        raise ConfigError(
            f"no broker answers at {server}, which {error}: start it, or set {_SERVERS}"
        ) from None
    except NotABrokerError as error:
        raise ConfigError(_no_answer(kafka, str(error))) from None
    except NotTLSError as error:
        raise ConfigError(
            f"{server} {error}: set {_PROTOCOL} to {_without_tls(kafka)},"
            " or name the broker's TLS port"
        ) from None
    except NoConnectionError as error:
        remedy = "set DETECTOR_KAFKA__SSL_CAFILE" if context else f"correct {_SERVERS}"
        raise ConfigError(f"{server} {error}: {remedy}") from None


def _without_tls(kafka: KafkaSettings) -> str:
    return "PLAINTEXT" if kafka.security_protocol == "SSL" else "SASL_PLAINTEXT"


def _check_sasl(kafka: KafkaSettings, server: str, answer: SaslHandshake) -> None:
    """Raises ConfigError if the server does not take this mechanism, or no SASL."""
    if answer.no_sasl:
        protocol = kafka.security_protocol.removeprefix("SASL_")
        raise ConfigError(
            f"{server} does not use SASL: set {_PROTOCOL} to {protocol},"
            " or name the broker's SASL port"
        )
    if answer.unsupported:
        offered = ", ".join(answer.mechanisms) or "none"
        raise ConfigError(
            f"{server} does not support {kafka.sasl_mechanism} (it offers: {offered}):"
            " correct DETECTOR_KAFKA__SASL_MECHANISM"
        )


def _topics(kafka: KafkaSettings) -> Set[str]:
    """Log in and list. Raises ConfigError."""
    servers = ", ".join(kafka.bootstrap_servers)
    try:
        consumer = connected(
            KafkaConsumer, **kafka.connection(), bootstrap_timeout_ms=_BOOTSTRAP_MS
        )
    except (KafkaError, OSError) as error:
        reason = type(error).__name__
        if kafka.security_protocol.startswith("SASL"):
            raise ConfigError(_no_login(kafka, servers, reason)) from None
        raise ConfigError(_no_answer(kafka, reason)) from None
    try:
        topics: Set[str] = consumer.topics()
    except AuthorizationError as error:
        raise ConfigError(
            f"{servers} does not let this user list topics ({type(error).__name__}):"
            " grant it DESCRIBE on the input topics"
        ) from None
    except KafkaError as error:
        raise ConfigError(
            f"{servers} does not list its topics ({type(error).__name__}):"
            " check the TLS and SASL settings"
        ) from None
    finally:
        consumer.close()
    return topics


def _no_login(kafka: KafkaSettings, servers: str, error: str) -> str:
    """Some brokers only hang up on a wrong password; the handshake came before it."""
    user = kafka.sasl_plain_username or "this client"
    return (
        f"{servers} refuses the login of {user} ({error}):"
        " correct DETECTOR_KAFKA__SASL_PLAIN_USERNAME or …_PASSWORD"
    )


def _no_answer(kafka: KafkaSettings, error: str) -> str:
    """Why no broker answers although a port is open."""
    servers = ", ".join(kafka.bootstrap_servers)
    has_tls = kafka.security_protocol.endswith("SSL")
    has_sasl = kafka.security_protocol.startswith("SASL")
    addresses = [_host_and_port(server) for server in kafka.bootstrap_servers]
    if not has_tls and any(speaks_tls(*address) for address in addresses):
        protocol = "SASL_SSL" if has_sasl else "SSL"
        return f"{servers} speaks TLS: set {_PROTOCOL} to {protocol}"
    if not has_sasl and not has_tls:
        offered = {name for address in addresses for name in _mechanisms(*address)}
        if offered:
            return (
                f"{servers} wants a login ({', '.join(sorted(offered))}):"
                f" set {_PROTOCOL} to SASL_PLAINTEXT, and DETECTOR_KAFKA__SASL_…"
            )
    return (
        f"{servers} accepts connections but does not answer as a broker ({error}):"
        f" check the port and {_PROTOCOL}"
    )


def _mechanisms(host: str, port: int) -> tuple[str, ...]:
    """What a listener without TLS offers for a login; nothing if it wants none."""
    try:
        with opened(host, port, None) as connection:
            # asked for a mechanism that nobody has, it lists its own
            return shake_hands(connection, "NONE").mechanisms
    except (NoConnectionError, NotABrokerError):
        return ()


def _topic_faults(
    kafka: KafkaSettings, inputs: Subscription, present: Set[str]
) -> Iterator[str]:
    servers = ", ".join(kafka.bootstrap_servers)
    if inputs.pattern is not None:
        pattern = re.compile(inputs.pattern)
        if not any(pattern.match(topic) for topic in present):
            yield (
                f"no topic at {servers} matches {kafka.topics[0]} ({_what_it_has(present)}):"
                " create one, or set DETECTOR_KAFKA__TOPICS"
            )
        return
    for topic in kafka.topics:
        if topic not in present:
            yield (
                f"topic {topic} does not exist at {servers}:"
                " create it, or set DETECTOR_KAFKA__TOPICS"
            )


def _what_it_has(topics: Set[str]) -> str:
    names = sorted(name for name in topics if not name.startswith("__"))
    if not names:
        return "it has none"
    return f"it has {listed(names, _NAMED)}"


def _host_and_port(server: str) -> tuple[str, int]:
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
