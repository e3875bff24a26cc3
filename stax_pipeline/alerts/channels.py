"""Channels by which operators hear of alerts: a webhook and e-mail. One message in, delivered or DeliveryFailed.

Belongs here: the protocols, and failures told without addresses, passwords or what a server said back, which might
quote them. Stays out: what is said (`alerts.message`), and when it is tried again (`alerts.evaluation`).
"""

from __future__ import annotations

import logging
import re
import smtplib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import httpx

from stax_pipeline.alerts.message import Message
from stax_pipeline.domain.errors import StaxError
from stax_pipeline.installation.certificates import client_context
from stax_pipeline.installation.settings import MailServer, Settings

T = TypeVar("T")
_UNLINKED = {
    re.compile(r":(?=//)|(?<=\bmailto):|(?<=\btel):", re.IGNORECASE): "[:]",
    re.compile(r"(?<=\w)[.\u3002\uff0e\uff61](?=[^\W\d_]{2})"): "[.]",
    re.compile(r"@(?=\w)"): "[at]",
}
_NO_PREVIEWS = {"unfurl_links": False, "unfurl_media": False}
WAIT_SECONDS = 10.0
LONGEST_SECONDS = 30.0  # for a whole delivery, however slowly the other side drips
HELLO_NAME = "stax.invalid"  # so that no look-up of this machine's name can hang


class DeliveryFailed(StaxError):
    """A channel did not take a message; tried again later."""


class Channel(Protocol):
    @property
    def name(self) -> str:
        """One word without blanks; it is kept with every alert that was told."""

    def send(self, message: Message) -> str:
        """Deliver the message once and say where to, in one sentence. Raises DeliveryFailed."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """HTTP POST of JSON to an address that is itself a secret. `slack` sends what Slack's incoming webhooks take."""

    url: str = field(repr=False)
    slack: bool = False
    ca_file: Path | None = None
    name: str = "webhook"

    def send(self, message: Message) -> str:
        host = urlsplit(self.url).hostname
        content = slack_content(message) if self.slack else json_content(message)
        fault = ""
        try:
            status = in_time(lambda: self._post(content))
            fault = "" if 200 <= status < 300 else f"it answered {status}"
        except (httpx.TimeoutException, TimeoutError):
            fault = "no answer in time"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            fault = f"no connection, or a broken one ({type(error).__name__})"
        if fault:
            raise DeliveryFailed(f"The webhook on {host} did not take the message: {fault}.")
        return f"The webhook on {host} took the message."

    def _post(self, content: dict[str, object]) -> int:
        for logger in ("httpx", "httpcore"):  # their records quote the address
            logging.getLogger(logger).setLevel(logging.WARNING)
        with (
            httpx.Client(
                verify=client_context(self.ca_file), follow_redirects=False, trust_env=False, timeout=WAIT_SECONDS
            ) as client,
            client.stream("POST", self.url, json=content) as answer,
        ):
            return answer.status_code


def json_content(message: Message) -> dict[str, object]:
    """Words for people without addresses that become links, data for programs as they are."""
    words = {"title": unlinked(message.title), "text": unlinked(message.text)}
    return {**message._asdict(), **words, "more": [one._asdict() for one in message.more]}


def slack_content(message: Message) -> dict[str, object]:
    """Slack's own escapes, so that no name from the source becomes a link or calls a channel."""
    text = unlinked(f"*{message.title}*\n{message.text}")
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"), **_NO_PREVIEWS}


def unlinked(text: str) -> str:
    """`text` with its addresses broken visibly: chats and programs that show mail make links of plain ones."""
    for sign, shown in _UNLINKED.items():
        text = sign.sub(shown, text)
    return text


@dataclass(frozen=True, slots=True)
class Mail:
    """E-mail by SMTP. Beyond this machine nothing is said before TLS holds."""

    server: MailServer
    sender: str
    recipients: tuple[str, ...]
    ca_file: Path | None = None
    name: str = "email"

    def send(self, message: Message) -> str:
        fault = ""
        try:
            refused = in_time(lambda: self._deliver(message))
        except _NoTls:
            fault = "it offers no STARTTLS, so nothing was sent"
        except smtplib.SMTPRecipientsRefused as error:
            fault = f"it refused every recipient ({', '.join(sorted({str(c) for c, _ in error.recipients.values()}))})"
        except smtplib.SMTPAuthenticationError as error:
            fault = f"it refused user or password ({error.smtp_code})"
        except smtplib.SMTPResponseException as error:
            fault = f"it answered {error.smtp_code}"
        except TimeoutError:
            fault = "no answer in time"
        except ssl.SSLError:
            fault = "TLS failed; is its certificate valid for that name?"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            fault = f"no connection, or a broken one ({type(error).__name__})"
        if fault:
            raise DeliveryFailed(f"The mail server {self.server.host} did not take the message: {fault}.")
        but = f", but refused {', '.join(refused)}" if refused else ""
        return f"The mail server {self.server.host} took the message for {', '.join(self.recipients)}{but}."

    def _deliver(self, message: Message) -> list[str]:
        """Hand the message in; returns the recipients that were refused, where others were not."""
        at = self.server
        context = client_context(self.ca_file, of_system=True)
        server: smtplib.SMTP = (
            smtplib.SMTP_SSL(at.host, at.port, HELLO_NAME, timeout=WAIT_SECONDS, context=context)
            if at.tls
            else smtplib.SMTP(at.host, at.port, HELLO_NAME, timeout=WAIT_SECONDS)
        )
        with server:
            server.ehlo()
            if not at.tls and not at.is_loopback:
                start_tls(server, context)
            if at.user:
                server.login(at.user, at.password)
            return sorted(server.send_message(self._email(message), self.sender, self.recipients))

    def _email(self, message: Message) -> EmailMessage:
        email = EmailMessage()
        email["Subject"] = unlinked(message.title)
        email["From"] = self.sender
        email["To"] = ", ".join(self.recipients)
        email["Date"] = formatdate(usegmt=True)
        email["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        email["Auto-Submitted"] = "auto-generated"
        email.set_content(unlinked(message.text))
        return email


class _NoTls(Exception):
    """The server offers no TLS."""


def start_tls(server: smtplib.SMTP, context: ssl.SSLContext) -> None:
    """Go on in TLS. Raises before anything secret was said where the server does not offer it."""
    if not server.has_extn("starttls"):
        raise _NoTls
    server.starttls(context=context)
    server.ehlo()


def in_time(work: Callable[[], T]) -> T:
    """The work's result, or TimeoutError: a name that does not resolve or a server that drips must not hold the caller.

    What is given up on may still arrive; better told twice than never.
    """
    done: list[T] = []
    faults: list[Exception] = []

    def run() -> None:
        try:
            done.append(work())
        except Exception as fault:
            faults.append(fault)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(LONGEST_SECONDS)
    if faults:
        raise faults[0]
    if not done:
        raise TimeoutError
    return done[0]


def channels(settings: Settings) -> list[Channel]:
    """The channels that are set, none by default."""
    found: list[Channel] = []
    if settings.alert_webhook:
        found.append(
            Webhook(settings.alert_webhook, slack=settings.alert_webhook_format == "slack", ca_file=settings.ca_file)
        )
    if settings.smtp:
        found.append(Mail(settings.smtp, settings.alert_email_from, settings.alert_email_to, settings.ca_file))
    return found
