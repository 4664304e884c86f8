"""A mailbox for development: accepts all mail by SMTP and keeps it in a SQLite file. Duplicates stay visible."""

from __future__ import annotations

import argparse
import asyncio
import email
import email.policy
import sqlite3
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

SCHEMA = """
create table if not exists messages (
    number integer primary key, received_at real, message_id text, recipients text, content blob)
"""


@dataclass(frozen=True, slots=True)
class Received:
    message_id: str
    recipients: str
    message: EmailMessage


class Inbox:
    def __init__(self, file: Path) -> None:
        self._file = file
        with closing(self._connect()) as db:
            db.execute("pragma journal_mode = wal")
            db.execute(SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=5, isolation_level=None)

    def store(self, envelope: Envelope) -> None:
        content = envelope.original_content or b""
        message_id = email.message_from_bytes(content, policy=email.policy.default)["Message-ID"]
        with closing(self._connect()) as db:
            db.execute(
                "insert into messages (received_at, message_id, recipients, content) values (?, ?, ?, ?)",
                (time.time(), str(message_id), ",".join(envelope.rcpt_tos), content),
            )

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        await asyncio.to_thread(self.store, envelope)  # committed before the sender hears that we have it
        return "250 Message accepted for delivery"

    def messages(self) -> list[Received]:
        """All that arrived, in order, also what arrived twice."""
        with closing(self._connect()) as db:
            rows = db.execute("select message_id, recipients, content from messages order by number").fetchall()
        return [
            Received(message_id, recipients, email.message_from_bytes(content, policy=email.policy.default))
            for message_id, recipients, content in rows
        ]


async def serve(file: Path, port: int) -> None:
    inbox = Inbox(file)
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(inbox, hostname="inbox.shop.example", enable_SMTPUTF8=True), "127.0.0.1", port
    )
    print(f"mailbox at smtp://127.0.0.1:{port}, kept in {file}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Accept all mail and keep it in a SQLite file.")
    parser.add_argument("--port", type=int, default=1025)
    parser.add_argument("--file", type=Path, default=Path("inbox.db"))
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments.file, arguments.port))


if __name__ == "__main__":
    main()
