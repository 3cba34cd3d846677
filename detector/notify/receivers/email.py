"""The ``email`` kind: a mail for each post, by SMTP (RFC 5321).

All mails of an incident are one thread: the first has a Message-ID that follows from
the incident, and those that come later name it in ``In-Reply-To`` and ``References``
(RFC 5322, section 3.6.4). So a restart changes nothing, and a post that is sent twice
has one Message-ID.

``encryption`` is ``starttls`` (RFC 3207), ``tls`` (RFC 8314), or ``none``. A 4xx answer
of the server may pass, a 5xx is a refusal.
"""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.errors import Refused, Transient
from detector.notify.message import Message, cut, message_of
from detector.notify.payload import OutgoingPost
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import ConnectionSettings
from detector.phrases import escaped
from detector.setting_types import Listed

_PORTS = {"starttls": 587, "tls": 465, "none": 25}
_MAX_SUBJECT = 200  # characters
_HALF_SENT = 1000  # posts of which it is known who has them
_PASSING = range(400, 500)  # RFC 5321, section 4.2.1


class EmailSettings(ConnectionSettings):
    """A mail server, and who gets the mails."""

    kind: Literal["email"] = Field("email", description="the kind of receiver")
    server: str = Field(min_length=1, description="host of the SMTP server")
    port: int = Field(
        0, ge=0, le=65535, description="0: 587 for starttls, 465 for tls, 25 for none"
    )
    encryption: Literal["starttls", "tls", "none"] = Field(
        "starttls", description="how the connection is encrypted"
    )
    user: str | None = Field(None, description="user of the server")
    password: SecretStr | None = Field(None, description="its password")
    sender: str = Field(description="address in From")
    to: Listed = Field(min_length=1, description="addresses that get the mails")

    @field_validator("sender")
    @classmethod
    def _check_sender(cls, sender: str) -> str:
        _check_mail_address(sender)
        return sender

    @field_validator("to")
    @classmethod
    def _check_to(cls, to: tuple[str, ...]) -> tuple[str, ...]:
        for address in to:
            _check_mail_address(address)
        return to

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password are set together")
        if self.password is not None and self.encryption == "none":
            raise ValueError('a password needs encryption = "starttls" or "tls"')
        return self

    @property
    def addresses(self) -> Sequence[str]:
        scheme = "smtps" if self.encryption == "tls" else "smtp"
        return (f"{scheme}://{self.server}:{self.port or _PORTS[self.encryption]}",)

    def receiver(self, context: ReceiverContext) -> Email:
        """Raises ConfigError if a TLS file cannot be used."""
        return Email(self, context)


class Email:
    """Sends mails by one server. Implements Receiver."""

    def __init__(self, settings: EmailSettings, context: ReceiverContext) -> None:
        self._settings = settings
        self._context = context
        self._tls: ssl.SSLContext = settings.tls()
        # key of a post that some addresses refused -> those that have its mail
        self._accepted: OrderedDict[str, set[str]] = OrderedDict()

    def close(self) -> None:
        """Nothing stays open between mails."""

    def deliver(self, post: OutgoingPost) -> None:
        """Done when every address has it. Raises Transient or Permanent.

        One that refused it is tried again without those that have it.
        """
        message = message_of(post, self._context.labelling, self._context.external_url)
        mail = self._mail(message, post.key)
        accepted = self._accepted.pop(post.key, set())
        missing = [to for to in self._settings.to if to not in accepted]
        refused = self._send(mail, missing)
        if refused:
            self._accepted[post.key] = accepted | set(missing) - refused.keys()
            if len(self._accepted) > _HALF_SENT:
                self._accepted.popitem(last=False)
            raise _fault(self._settings.server, min(refused.values()))

    def _send(self, mail: EmailMessage, to: Sequence[str]) -> dict[str, int]:
        """The code with which each address refused it. Raises Transient or Refused."""
        server = self._settings.server
        try:
            with self._session() as session:
                answers = session.send_message(mail, to_addrs=list(to))
                return {address: code for address, (code, _) in answers.items()}
        except smtplib.SMTPResponseException as error:
            raise _fault(server, error.smtp_code) from None
        except smtplib.SMTPRecipientsRefused as error:
            return {address: code for address, (code, _) in error.recipients.items()}
        except smtplib.SMTPNotSupportedError:
            raise Refused(
                f"{server} does not offer what the settings ask for"
            ) from None
        except ssl.SSLError as error:
            cause = getattr(error, "verify_message", "") or type(error).__name__
            raise Transient(f"{server} can't be trusted (TLS: {cause})") from None
        except (smtplib.SMTPException, OSError) as error:
            cause = getattr(error, "strerror", None) or type(error).__name__
            raise Transient(f"{server} can't be reached ({cause})") from None

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        settings = self._settings
        port = settings.port or _PORTS[settings.encryption]
        with self._connected(port) as session:
            if settings.encryption == "starttls":
                session.starttls(context=self._tls)
            if settings.user is not None and settings.password is not None:
                session.login(settings.user, settings.password.get_secret_value())
            yield session

    def _connected(self, port: int) -> smtplib.SMTP:
        server, timeout = self._settings.server, self._settings.timeout
        if self._settings.encryption == "tls":
            return smtplib.SMTP_SSL(server, port, timeout=timeout, context=self._tls)
        return smtplib.SMTP(server, port, timeout=timeout)

    def _mail(self, message: Message, key: str) -> EmailMessage:
        domain = parseaddr(self._settings.sender)[1].rpartition("@")[2]
        first = f"<{message.thread}@{domain}>"
        mail = EmailMessage()
        subject = f"[{message.state}] {_line(message.title)}"
        mail["Subject"] = cut(subject, _MAX_SUBJECT)
        mail["From"] = self._settings.sender
        mail["To"] = ", ".join(self._settings.to)
        now = datetime.fromtimestamp(self._context.clock.wall(), UTC)
        mail["Date"] = format_datetime(now)
        follows = message.is_update or not message.is_firing
        if follows and not message.is_summary:
            mail["Message-ID"] = f"<{key}@{domain}>"
            mail["In-Reply-To"] = first
            mail["References"] = first
        else:
            mail["Message-ID"] = first
        # RFC 3834, section 5: nobody's out-of-office note answers it
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(_plain(message))
        mail.add_alternative(_html(message), subtype="html")
        return mail


def _fault(server: str, code: int) -> Transient | Refused:
    if code in _PASSING:
        return Transient(f"{server} answered {code}")
    return Refused(f"{server} refused it with {code}")


def _check_mail_address(address: str) -> None:
    """Raises ValueError if mail can't be sent to it."""
    name = parseaddr(address)[1]
    local, at, domain = name.rpartition("@")
    if not (local and at and domain) or not address.isprintable():
        raise ValueError(f"{escaped(address)!r} is not a mail address")


def _line(text: str) -> str:
    """One line: a header ends at its line's end."""
    return escaped(text)


def _plain(message: Message) -> str:
    lines = [message.title, ""]
    lines += [f"- {line}" for line in message.members] or [message.description]
    if message.not_named:
        lines.append(f"and {message.not_named:,} more")
    lines += ["", f"{message.state}, since {message.since}"]
    lines += [f"{name}: {value}" for name, value in message.labels.items()]
    if message.url:
        lines += ["", message.url]
    return "\n".join(lines) + "\n"


def _html(message: Message) -> str:
    """The same in HTML; every text from a record is escaped."""
    parts = [f"<h3>{escape(message.title)}</h3>"]
    if message.members:
        items = "".join(f"<li>{escape(line)}</li>" for line in message.members)
        parts.append(f"<ul>{items}</ul>")
    else:
        parts.append(f"<p>{escape(message.description)}</p>")
    if message.not_named:
        parts.append(f"<p>and {message.not_named:,} more</p>")
    parts.append(f"<p>{escape(message.state)}, since {escape(message.since)}</p>")
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
        for name, value in message.labels.items()
    )
    if rows:
        parts.append(f"<table>{rows}</table>")
    if message.url:
        link = escape(message.url)
        parts.append(f'<p><a href="{link}">open</a></p>')
    return "\n".join(parts)
