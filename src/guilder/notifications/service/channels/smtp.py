"""Email by SMTP: one connection a message, encrypted unless the setting says plain."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formataddr, formatdate, parseaddr
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import aiosmtplib
from msgspec import Struct

from guilder.notifications.api import Message, NotDelivered, Undeliverable

_PORTS: Final = {"smtps": 465, "smtp": 587, "smtp+plain": 25}
_TIMEOUT_S: Final = 10.0


class SmtpServer(Struct, frozen=True, kw_only=True):
    """A mail server: ``smtps`` speaks TLS from the start, ``smtp`` insists on STARTTLS."""

    scheme: str
    host: str
    port: int
    user: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> SmtpServer:
        """Read ``smtp://user:password@host:port``.

        Raises:
            ValueError: it is no such URL.
        """
        parts: SplitResult = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("it starts with smtp://, smtps:// or smtp+plain:// and names a host")
        return cls(
            scheme=parts.scheme,
            host=parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            user=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
        )


class SmtpEmail:
    """Sends mails ``sender`` signs, as ``Guilder <no-reply@example.com>``."""

    def __init__(
        self, server: SmtpServer, *, sender: str, now: Callable[[], float] = time.time
    ) -> None:
        self._server = server
        self._sender = parseaddr(sender)
        self._now = now

    async def send(self, message: Message) -> str:
        """Hand a mail to the server; its Message-ID is made of the delivery's id.

        Raises:
            NotDelivered: no connection, a lasting trouble with us, or a passing one with it.
            Undeliverable: the server will not take it for this address.
        """
        mail = self._mail(message)
        server = self._server
        try:
            await aiosmtplib.send(
                mail,
                hostname=server.host,
                port=server.port,
                username=server.user,
                password=server.password,
                use_tls=server.scheme == "smtps",
                start_tls=server.scheme == "smtp",
                timeout=_TIMEOUT_S,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = {refused.code for refused in error.recipients}
            if all(500 <= code < 600 for code in codes):
                raise Undeliverable(f"smtp_{min(codes)}") from error
            raise NotDelivered(f"smtp_{min(codes)}") from error
        except aiosmtplib.SMTPDataError as error:
            if 500 <= error.code < 600:
                raise Undeliverable(f"smtp_{error.code}") from error
            raise NotDelivered(f"smtp_{error.code}") from error
        except (aiosmtplib.SMTPException, OSError) as error:
            raise NotDelivered(type(error).__name__) from error
        return str(mail["Message-ID"])

    async def close(self) -> None:
        """There is nothing to give up: a connection lives as long as its message."""

    def _mail(self, message: Message) -> EmailMessage:
        name, address = self._sender
        mail = EmailMessage()
        try:
            mail["From"] = formataddr((name, address))
            mail["To"] = message.to
            mail["Subject"] = message.title
        except (ValueError, MessageError) as error:
            raise Undeliverable("unwritable_header") from error
        mail["Date"] = formatdate(self._now())
        mail["Message-ID"] = f"<{message.id}@{address.rpartition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        mail.add_alternative(message.html, subtype="html")
        return mail
