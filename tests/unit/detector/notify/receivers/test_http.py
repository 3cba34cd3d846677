"""One post: what goes with it, what its answer means, and no secret in any text."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import hmac
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Response

from detector.errors import ConfigError, Permanent, Refused, Transient
from detector.notify.payload import RECEIVER
from detector.notify.receivers.http import HttpClient
from detector.notify.receivers.signature import signature
from detector.notify.receivers.webhook import WebhookSettings
from tests.fakes import FakeClock

PATH = "/hook/token-in-path"
# of 127.0.0.1, signed by itself, with its key
CERTIFICATE = Path(__file__).parent / "data/loopback.pem"


def client(clock: FakeClock | None = None, **settings: object) -> HttpClient:
    made = {"name": "hook", "url": "http://unused", "timeout": 2, **settings}
    return WebhookSettings.model_validate(made).client(clock or FakeClock())


def answering(server: HTTPServer, status: int, **headers: str) -> str:
    """The address of a receiver that gives this answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = Response(status=status, headers=named)
    server.expect_request(PATH, method="POST").respond_with_response(answer)
    return server.url_for(PATH)


def test_a_post_is_json_under_its_key(httpserver: HTTPServer) -> None:
    client().post(answering(httpserver, 202), b'{"a": 1}', "key-1")
    request, _ = httpserver.log[0]
    assert request.data == b'{"a": 1}'
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Idempotency-Key"] == "key-1"


@pytest.mark.parametrize("status", [408, 425, 429, 500, 503])
def test_a_fault_that_may_pass_is_transient(
    httpserver: HTTPServer, status: int
) -> None:
    address = answering(httpserver, status, Retry_After="7")
    with pytest.raises(Transient, match=str(status)) as caught:
        client().post(address, b"", "key")
    assert caught.value.retry_after == 7


def test_a_post_that_is_too_large_is_refused_for_good(httpserver: HTTPServer) -> None:
    address = answering(httpserver, 413)
    with pytest.raises(Permanent) as caught:
        client().post(address, b"", "key")
    assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_a_refusal_may_pass(httpserver: HTTPServer, status: int) -> None:
    address = answering(httpserver, status, Location="/elsewhere")
    with pytest.raises(Refused, match=str(status)) as caught:
        client().post(address, b"", "key")
    assert "token-in-path" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (email.utils.formatdate(2030.0, usegmt=True), 30),
        (email.utils.formatdate(1970.0, usegmt=True), 0),
        ("86400", 3600),
        ("soon", None),
        ("-1", None),
    ],
    ids=["a date", "a past date", "too long", "no number", "negative"],
)
def test_retry_after_is_read(
    httpserver: HTTPServer, given: str, seconds: float | None
) -> None:
    address = answering(httpserver, 429, Retry_After=given)
    with pytest.raises(Transient) as caught:
        client(FakeClock(2000.0)).post(address, b"", "key")
    assert caught.value.retry_after == seconds


def test_a_receiver_that_does_not_answer_is_transient_and_its_secrets_unnamed() -> None:
    gone = "http://user:password@127.0.0.1:1/token-in-path"
    with pytest.raises(Transient, match=r"^127\.0\.0\.1:1 refuses conn") as caught:
        client().post(gone, b"", "key")
    assert "token-in-path" not in str(caught.value)
    assert "password" not in str(caught.value)


def test_a_receiver_that_hangs_did_not_answer_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(Transient) as caught:
            client(timeout=0.2).post(f"http://127.0.0.1:{port}/", b"", "key")
    assert str(caught.value) == f"127.0.0.1:{port} did not answer within 0.2 s"


def test_a_receiver_whose_queue_is_full_did_not_accept_a_connection() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with contextlib.ExitStack() as waiting:
            for _ in range(3):
                other = waiting.enter_context(socket.socket())
                other.setblocking(False)
                other.connect_ex(("127.0.0.1", port))
            with pytest.raises(Transient) as caught:
                client(timeout=0.2).post(f"http://127.0.0.1:{port}/", b"", "key")
    expected = f"127.0.0.1:{port} did not accept a connection within 0.2 s"
    assert str(caught.value) == expected


def test_the_signature_covers_time_and_content(httpserver: HTTPServer) -> None:
    address = answering(httpserver, 200)
    client(FakeClock(1234.0), secret="s3cret").post(address, b"content", "key")
    headers = httpserver.log[0][0].headers
    expected = hmac.new(b"s3cret", b"1234:content", hashlib.sha256).hexdigest()
    assert headers["X-Streamwarden-Timestamp"] == "1234"
    assert headers["X-Streamwarden-Signature"] == f"sha256={expected}"


@given(
    st.binary(min_size=1, max_size=80), st.integers(0, 2**40), st.binary(max_size=80)
)
def test_the_signature_is_hmac_sha256(secret: bytes, sent: int, content: bytes) -> None:
    # RFC 2104, written out
    short = secret if len(secret) <= 64 else hashlib.sha256(secret).digest()
    padded = short.ljust(64, b"\0")
    inner_key = bytes(byte ^ 0x36 for byte in padded)
    outer_key = bytes(byte ^ 0x5C for byte in padded)
    inner = hashlib.sha256(inner_key + f"{sent}:".encode() + content).digest()
    expected = hashlib.sha256(outer_key + inner).hexdigest()
    assert hmac.compare_digest(signature(secret, sent, content), expected)


def test_a_bearer_token_and_further_headers_go_with_a_post(
    httpserver: HTTPServer,
) -> None:
    made = client(bearer_token="t0ken", headers={"X-Scope-OrgID": "ops"})
    made.post(answering(httpserver, 200), b"", "key")
    headers = httpserver.log[0][0].headers
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["X-Scope-OrgID"] == "ops"


def test_user_and_password_are_basic_authorisation(httpserver: HTTPServer) -> None:
    made = client(user="Aladdin", password="open sesame")
    made.post(answering(httpserver, 200), b"", "key")
    # the example of RFC 7617
    expected = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert httpserver.log[0][0].headers["Authorization"] == expected


@pytest.fixture
def secure() -> Iterator[HTTPServer]:
    """Speaks TLS with a certificate of its own, and asks the client for one."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.load_verify_locations(CERTIFICATE)
    context.verify_mode = ssl.CERT_REQUIRED
    with HTTPServer("127.0.0.1", ssl_context=context) as server:
        yield server


def test_certificates_are_verified_on_both_sides(secure: HTTPServer) -> None:
    made = client(tls_ca=CERTIFICATE, tls_certificate=CERTIFICATE)
    made.post(answering(secure, 200), b"", "key")
    assert len(secure.log) == 1


def test_a_receiver_that_cannot_be_verified_gets_nothing(secure: HTTPServer) -> None:
    made = client(tls_certificate=CERTIFICATE)
    with pytest.raises(Transient, match=r"TLS: self.signed certificate"):
        made.post(answering(secure, 200), b"", "key")
    assert not secure.log


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verification_can_be_turned_off(secure: HTTPServer) -> None:
    made = client(tls_certificate=CERTIFICATE, tls_verify=False)
    made.post(answering(secure, 200), b"", "key")
    assert len(secure.log) == 1


@pytest.mark.parametrize(
    ("receiver", "named"),
    [
        ("hook", "tls_ca /no/ca.pem of receiver hook can't be used"),
        (RECEIVER, "DETECTOR_ALERTING__WEBHOOK_TLS_CA /no/ca.pem can't be used"),
    ],
)
def test_a_certificate_that_does_not_exist_is_named_at_the_start(
    receiver: str, named: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{named}"):
        client(name=receiver, tls_ca="/no/ca.pem")
