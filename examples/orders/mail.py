"""Mail: a Jinja2 template a kind, sent as plain text and HTML over SMTP."""

from __future__ import annotations

import smtplib
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from examples.orders.domain import Mail
from examples.orders.models import utcnow
from examples.orders.settings import Settings

TEMPLATES = Path(__file__).with_name("templates")
SMTP_TIMEOUT_SECONDS = 8.0


def message_id(order_id: str, kind: Mail) -> str:
    """The same for each attempt to send a message, so that a mailbox can drop the second copy."""
    return f"<{order_id}.{kind}@shop.example>"


class Mailer:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=select_autoescape(["html"]),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["money"] = lambda cents: f"{cents / 100:,.2f}"

    def render(self, order_id: str, kind: Mail, recipient: str, context: Mapping[str, Any]) -> EmailMessage:
        """The template's first line is the subject, the rest is paragraphs that both layouts wrap."""
        text = self._templates.get_template(f"{kind}.txt").render(context, order_id=order_id)
        subject, _, body = text.partition("\n")
        wrapped = {
            **context,
            "order_id": order_id,
            "subject": subject.strip(),
            "paragraphs": [paragraph.strip() for paragraph in body.split("\n\n") if paragraph.strip()],
        }
        message = EmailMessage()
        message["Subject"] = subject.strip()
        message["From"] = self._settings.mail_from
        message["To"] = recipient
        message["Date"] = format_datetime(utcnow())
        message["Message-ID"] = message_id(order_id, kind)
        message.set_content(self._templates.get_template("layout.txt").render(wrapped))
        message.add_alternative(self._templates.get_template("layout.html").render(wrapped), subtype="html")
        return message

    def send(self, message: EmailMessage) -> None:
        with smtplib.SMTP(self._settings.smtp_host, self._settings.smtp_port, timeout=SMTP_TIMEOUT_SECONDS) as smtp:
            smtp.send_message(message)
