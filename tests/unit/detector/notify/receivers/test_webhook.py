"""One post: what it holds, what its answer means, and never a secret in a text."""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from detector.errors import ConfigError, Permanent, Transient
from detector.events import Alert, FeatureDeviation, Partition, Reason, Severity
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost, idempotency_key, post_key
from detector.notify.receivers.settings import ReceiverSettings
from detector.notify.receivers.webhook import Webhook
from tests.fakes import FakeClock

P = Partition("metrics", 0)
LABELLING = Labelling()
# of 127.0.0.1, signed by itself, with its key
CERTIFICATE = Path(__file__).parent / "data/loopback.pem"
SHAPE = json.loads((Path(__file__).parent / "data/webhook-v4.json").read_text())


def alert(
    stream: str = "host-1", reason: Reason = Reason.FIRED, ends: float | None = None
) -> Alert:
    deviation = FeatureDeviation("cpu", "%", 97.0, 31.0, 0.8)
    return Alert(
        P,
        stream,
        Severity.WARNING,
        reason,
        1_700_000_000.5,
        ends,
        1_700_000_060.0,
        7.0,
        6.0,
        (deviation,),
    )


def post(*alerts: Alert) -> OutgoingPost:
    return OutgoingPost(
        "hook", "{}:{}", {}, alerts, post_key([idempotency_key(a) for a in alerts])
    )


class Server(ThreadingHTTPServer):
    """A receiver that gives the next of ``answers`` (status and headers), then 200."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.posts: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook/token-in-path"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((dict(self.headers), body))
        status, headers = (
            self.server.answers.pop(0) if self.server.answers else (200, {})
        )
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Quiet."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def webhook(url: str, clock: FakeClock | None = None, **settings: object) -> Webhook:
    return Webhook(
        ReceiverSettings.model_validate(
            {"name": "hook", "url": url, "timeout": 2, **settings}
        ),
        LABELLING,
        "",
        clock or FakeClock(),
    )


def same_shape(ours: object, theirs: object) -> None:
    """Same keys and types all the way down; labels and annotations may hold other
    names.
    """
    assert type(ours) is type(theirs)
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if set(theirs) >= {"status"}:
            assert set(ours) == set(theirs)
        for key in set(theirs) & set(ours):
            same_shape(ours[key], theirs[key])
    if isinstance(theirs, list) and isinstance(ours, list):
        same_shape(ours[0], theirs[0])


@pytest.mark.parametrize(
    ("sent", "shape"),
    [
        (alert(), SHAPE[0]),
        (alert(reason=Reason.RECOVERED, ends=1_700_000_600.0), SHAPE[1]),
    ],
)
def test_the_body_has_alertmanagers_shape(
    server: Server, sent: Alert, shape: object
) -> None:
    webhook(server.url).deliver(post(sent))
    same_shape(json.loads(server.posts[0][1]), shape)


def test_times_are_event_time_and_the_numbers_are_there(server: Server) -> None:
    webhook(server.url).deliver(
        post(alert(reason=Reason.RECOVERED, ends=1_700_000_600.0))
    )
    (entry,) = json.loads(server.posts[0][1])["alerts"]
    assert (entry["startsAt"], entry["endsAt"]) == (
        "2023-11-14T22:13:20.500Z",
        "2023-11-14T22:23:20.000Z",
    )
    assert entry["labels"] == {
        "alertname": "StreamAnomaly",
        "severity": "warning",
        "stream": "host-1",
    }
    assert entry["annotations"]["observed"] == "cpu=97"
    assert entry["annotations"]["expected"] == "cpu=31"


def test_the_signature_covers_time_and_body(server: Server) -> None:
    webhook(server.url, secret="s3cret", clock=FakeClock(1234.0)).deliver(post(alert()))
    headers, body = server.posts[0]
    wanted = hmac.new(b"s3cret", b"1234:" + body, hashlib.sha256).hexdigest()
    assert (
        headers["X-Streamwarden-Timestamp"],
        headers["X-Streamwarden-Signature"],
    ) == ("1234", f"sha256={wanted}")
    assert headers["Idempotency-Key"] == idempotency_key(alert())


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_fault_that_time_may_mend_is_transient(server: Server, status: int) -> None:
    server.answers = [(status, {"Retry-After": "7"})]
    with pytest.raises(Transient, match=str(status)) as caught:
        webhook(server.url).deliver(post(alert()))
    assert caught.value.retry_after == 7


def test_retry_after_may_be_a_date(server: Server) -> None:
    server.answers = [
        (429, {"Retry-After": email.utils.formatdate(2030.0, usegmt=True)})
    ]
    with pytest.raises(Transient) as caught:
        webhook(server.url, clock=FakeClock(2000.0)).deliver(post(alert()))
    assert caught.value.retry_after == 30


@pytest.mark.parametrize("status", [301, 400, 404, 410])
def test_a_refusal_is_permanent(server: Server, status: int) -> None:
    server.answers = [(status, {"Location": "/elsewhere"})]
    with pytest.raises(Permanent, match=str(status)) as caught:
        webhook(server.url).deliver(post(alert()))
    assert "token-in-path" not in str(caught.value)


def test_a_receiver_that_is_not_there_is_transient_and_its_path_is_not_told() -> None:
    with Server() as gone:
        url = gone.url.replace("http://", "http://user:password@")
    with pytest.raises(Transient) as caught:
        webhook(url).deliver(post(alert()))
    assert not {"token-in-path", "password"} & set(
        str(caught.value).replace("/", " ").replace("@", " ").replace(":", " ").split()
    )


def test_a_bearer_token_and_further_headers_go_with_each_post(server: Server) -> None:
    webhook(server.url, bearer_token="t0ken", headers={"X-Scope-OrgID": "ops"}).deliver(
        post(alert())
    )
    headers, _ = server.posts[0]
    assert (headers["Authorization"], headers["X-Scope-OrgID"]) == (
        "Bearer t0ken",
        "ops",
    )


def test_user_and_password_are_basic_authorisation(server: Server) -> None:
    webhook(server.url, user="Aladdin", password="open sesame").deliver(post(alert()))
    # the example of RFC 7617
    assert server.posts[0][0]["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.fixture
def secure(server: Server) -> Server:
    """Speaks TLS with a certificate of its own, and wants one from the client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    context.load_verify_locations(CERTIFICATE)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_a_receiver_whose_authority_is_named_is_believed_and_is_shown_our_certificate(
    secure: Server,
) -> None:
    webhook(
        secure.url.replace("http:", "https:"),
        tls_ca=CERTIFICATE,
        tls_certificate=CERTIFICATE,
    ).deliver(post(alert()))
    assert len(secure.posts) == 1


def test_a_receiver_that_can_not_prove_who_it_is_gets_nothing_and_is_tried_again(
    secure: Server,
) -> None:
    with pytest.raises(Transient, match=r"TLS: self.signed certificate"):
        webhook(
            secure.url.replace("http:", "https:"), tls_certificate=CERTIFICATE
        ).deliver(post(alert()))
    assert not secure.posts


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_verification_can_be_turned_off(secure: Server) -> None:
    webhook(
        secure.url.replace("http:", "https:"),
        tls_certificate=CERTIFICATE,
        tls_verify=False,
    ).deliver(post(alert()))
    assert len(secure.posts) == 1


def test_a_certificate_that_is_not_there_is_named_at_the_start() -> None:
    with pytest.raises(
        ConfigError, match=r"receiver hook: /no/such/ca\.pem can't be used"
    ):
        webhook("https://127.0.0.1:1/", tls_ca="/no/such/ca.pem")
