"""The email kind, with a real mail server: threads, escapes, refusals."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from pydantic import SecretStr, ValidationError

from deploy.harness.processes import free_ports
from detector.errors import Refused, Transient
from detector.notify.labels import Labelling
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.email import Email, EmailSettings
from tests.fakes import FakeClock
from tests.unit.detector.notify.receivers.posts import (
    ENDED,
    FIRED,
    HOSTILE,
    WORSE,
    post,
    storm,
)
from tests.unit.detector.notify.receivers.test_http import CERTIFICATE


class Mailbox:
    """Keeps what arrives; answers ``refusals`` first.

    Attributes:
        to: addresses that got each mail.
        full: an address whose mailbox takes nothing.
    """

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.refusals: list[str] = []
        self.full = ""

    async def handle_RCPT(  # noqa: N802 - the library's own name
        self,
        server: SMTP,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        if address == self.full:
            return "452 full"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the library's own name
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        mail = message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        self.to.append(list(envelope.rcpt_tos))
        return "250 OK"


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def server(mailbox: Mailbox) -> Iterator[Controller]:
    (port,) = free_ports(1)
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    yield controller
    controller.stop()


def receiver(port: int) -> Email:
    settings = EmailSettings(
        name="mail",
        server="127.0.0.1",
        port=port,
        encryption="none",
        sender="streamwarden <alerts@example.org>",
        to=("ops@example.org", "desk@example.org"),
    )
    return settings.receiver(ReceiverContext(Labelling(), "http://us", FakeClock()))


def test_all_mails_of_an_incident_are_one_thread(
    server: Controller, mailbox: Mailbox
) -> None:
    at = receiver(server.port)
    for alert in (FIRED, WORSE, ENDED):
        at.deliver(post(alert))
    first, worse, ended = mailbox.mails
    assert first["Subject"] == (
        "[warning] web-1: requests per second dropped to 0, expected about 120"
    )
    assert first["To"] == "ops@example.org, desk@example.org"
    for mail in (worse, ended):
        assert mail["References"] == mail["In-Reply-To"] == first["Message-ID"]
    identities = {mail["Message-ID"] for mail in mailbox.mails}
    assert len(identities) == 3


def test_a_restart_keeps_the_thread_and_the_same_post_its_identity(
    server: Controller, mailbox: Mailbox
) -> None:
    for alert in (FIRED, FIRED, ENDED):
        receiver(server.port).deliver(post(alert))
    first, again, ended = mailbox.mails
    assert first["Message-ID"] == again["Message-ID"] == ended["References"]


def test_a_name_can_neither_end_a_header_nor_be_markup(
    server: Controller, mailbox: Mailbox
) -> None:
    receiver(server.port).deliver(post(HOSTILE))
    (mail,) = mailbox.mails
    html = mail.get_body(("html",))
    assert html is not None
    assert "<script>" not in html.get_content()
    assert "<b><b>" not in html.get_content()


def test_a_storm_is_one_mail(server: Controller, mailbox: Mailbox) -> None:
    receiver(server.port).deliver(storm(500))
    (mail,) = mailbox.mails
    text = mail.get_body(("plain",))
    assert text is not None
    assert "and 490 more" in text.get_content()
    assert mail["Subject"].startswith("[warning] 500 incidents on host web-1")


@pytest.mark.parametrize(
    ("answer", "fault"), [("451 later", Transient), ("554 no", Refused)]
)
def test_what_the_server_answers_tells_whether_it_may_pass(
    server: Controller, mailbox: Mailbox, answer: str, fault: type[Exception]
) -> None:
    mailbox.refusals = [answer]
    with pytest.raises(fault, match=answer[:3]):
        receiver(server.port).deliver(post(FIRED))


def test_an_address_that_refuses_is_tried_again_alone(
    server: Controller, mailbox: Mailbox
) -> None:
    mailbox.full = "desk@example.org"
    at = receiver(server.port)
    for _ in range(2):
        with pytest.raises(Transient, match="452"):
            at.deliver(post(FIRED))
    mailbox.full = ""
    at.deliver(post(FIRED))
    assert mailbox.to == [["ops@example.org"], ["desk@example.org"]]


def test_a_server_that_is_down_is_tried_again() -> None:
    (port,) = free_ports(1)
    with pytest.raises(Transient, match="can't be reached"):
        receiver(port).deliver(post(FIRED))


def test_a_password_goes_over_tls_to_a_server_that_is_verified(
    mailbox: Mailbox,
) -> None:
    passwords: list[tuple[bytes, bytes]] = []

    def authenticate(
        _server: SMTP,
        _session: Session,
        _envelope: Envelope,
        _mechanism: str,
        given: LoginPassword,
    ) -> AuthResult:
        passwords.append((given.login, given.password))
        return AuthResult(success=given.password == b"p4ss", handled=False)

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(CERTIFICATE)
    (port,) = free_ports(1)
    controller = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=port,
        tls_context=tls,
        require_starttls=True,
        authenticator=authenticate,
        auth_required=True,
    )
    controller.start()
    try:
        secure(port, "p4ss", CERTIFICATE).deliver(post(FIRED))
        with pytest.raises(Refused, match="535"):
            secure(port, "wrong", CERTIFICATE).deliver(post(FIRED))
        with pytest.raises(Transient, match=r"TLS: self.signed certificate"):
            secure(port, "p4ss", None).deliver(post(FIRED))
    finally:
        controller.stop()
    assert set(passwords) == {(b"u", b"p4ss"), (b"u", b"wrong")}
    assert len(mailbox.mails) == 1


def secure(port: int, password: str, trusted: Path | None) -> Email:
    settings = EmailSettings(
        name="mail",
        server="127.0.0.1",
        port=port,
        sender="alerts@example.org",
        to=("ops@example.org",),
        user="u",
        password=SecretStr(password),
        tls_ca=trusted,
    )
    return settings.receiver(ReceiverContext(Labelling(), "", FakeClock()))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"to": "nobody"}, "'nobody' is not a mail address"),
        ({"sender": "a@b\nBcc: x@y"}, "is not a mail address"),
        ({"user": "u"}, "user and password are set together"),
        (
            {"user": "u", "password": "p", "encryption": "none"},
            "a password needs encryption",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(
    given: dict[str, str], fault: str
) -> None:
    whole = {"name": "m", "server": "s", "sender": "a@b.org", "to": "c@d.org"}
    with pytest.raises(ValidationError, match=fault):
        EmailSettings.model_validate(whole | given)


def test_a_password_is_sent_over_tls_only() -> None:
    settings = EmailSettings(
        name="m",
        server="s",
        sender="a@b.org",
        to=("c@d.org",),
        user="u",
        password=SecretStr("p4ss"),
    )
    assert settings.encryption == "starttls"
    assert "p4ss" not in repr(settings)
