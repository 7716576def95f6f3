"""A mail server small enough to read: it takes mail, keeps it, and refuses recipients it is told to."""

import asyncio
import base64
import email
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import default


@dataclass
class MailBox:
    """What came, and how the next recipients are answered. With `tls` STARTTLS is offered."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    answer: str = "250 fine"
    encrypted: list[bool] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 fake\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.split(":")[0].upper()
            if word == "STARTTLS" and self.tls:
                writer.write(b"220 go\r\n")
                await writer.drain()
                try:
                    await writer.start_tls(self.tls)
                except OSError:  # they did not trust us
                    break
                continue
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                self._keep(await reader.readuntil(b"\r\n.\r\n"), writer)
            writer.write((self._said(line) + "\r\n").encode())
            if word == "QUIT":
                break
        writer.close()

    def _said(self, line: str) -> str:
        if line.upper().startswith("EHLO"):
            return "250-fake\r\n" + ("250-STARTTLS\r\n" if self.tls else "") + "250 AUTH PLAIN"
        if line.upper().startswith("RCPT"):
            self.recipients.append(line.split("<")[1].split(">")[0])
            return self.answer
        if line.upper().startswith("AUTH PLAIN"):
            self.logins.append(base64.b64decode(line.split()[2]).decode().replace("\0", ":"))
            return "235 welcome"
        return "250 fine"

    def _keep(self, raw: bytes, writer: asyncio.StreamWriter) -> None:
        found = email.message_from_bytes(raw.removesuffix(b".\r\n"), policy=default)
        assert isinstance(found, EmailMessage)
        self.mails.append(found)
        self.encrypted.append(writer.get_extra_info("ssl_object") is not None)


@asynccontextmanager
async def mail_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[MailBox]:
    box = MailBox(tls=tls)
    server = await asyncio.start_server(box.talk, "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    async with server:
        yield box
