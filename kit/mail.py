"""One mail over SMTP: one connection to an address that `kit/outbound` has checked, encrypted unless told otherwise.

It knows no approval: who gets what is the caller's. A server that says no for good is Refused, everything else
Unavailable.
"""

from dataclasses import dataclass
from email.message import EmailMessage
from typing import Literal

import aiosmtplib
import anyio

from kit.errors import Fault, Refused, Unavailable
from kit.outbound import Outbound

LIMIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail goes out. `security`: STARTTLS (never without), TLS from the first byte, or none."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    sender: str
    username: str | None = None
    password: str | None = None


def compose(*, sender: str, to: str, subject: str, text: str, message_id: str) -> EmailMessage:
    """A plain text message. Line breaks in a subject become spaces: a header is one line."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = " ".join(subject.split())
    message["Message-ID"] = f"<{message_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    return message


async def send(outbound: Outbound, server: MailServer, message: EmailMessage) -> None:
    """Deliver to the server, or a Fault that says what it said."""
    sock = await outbound.dial(server.host, server.port)
    try:
        with anyio.fail_after(LIMIT_S):
            await aiosmtplib.send(
                message,
                hostname=server.host,
                sock=sock,
                use_tls=server.security == "tls",
                start_tls=server.security == "starttls",
                username=server.username,
                password=server.password,
                timeout=LIMIT_S,
            )
    except (aiosmtplib.SMTPException, TimeoutError, OSError, ValueError) as error:
        raise _fault(server.host, error) from error
    finally:
        sock.close()


def _fault(host: str, error: Exception) -> Fault:
    """4xx may pass another time (RFC 5321, 4.2.1), 5xx will not."""
    inner: Exception = error
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and error.recipients:
        inner = error.recipients[0]
    if isinstance(inner, aiosmtplib.SMTPResponseException):
        kind = Refused if 500 <= inner.code < 600 else Unavailable
        return kind(
            "mail_refused", f"{host} answered {inner.code}: {inner.message}.", "Look at [notify] and [approvers]."
        )
    if isinstance(inner, ValueError) and not isinstance(inner, OSError):  # a bad certificate is both
        return Refused("mail_refused", f"The mail can't be written: {inner}.", "Look at the addresses.")
    why = str(inner) or type(inner).__name__
    return Unavailable("mail_failed", f"{host} did not take the mail: {why}.", "It is tried again.")
