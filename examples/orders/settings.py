"""Settings of the order system, read once from the environment and passed down."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

STANDIN_PAYMENTS = "http://127.0.0.1:12111"
STANDIN_KEY = "sk_test_standin"


@dataclass(frozen=True, slots=True)
class Settings:
    temporal_address: str = "localhost:7233"
    temporal_namespace: str = "default"
    task_queue: str = "orders"
    database_url: str = "sqlite:///orders.db"
    stripe_api_key: str = STANDIN_KEY
    stripe_api_base: str | None = STANDIN_PAYMENTS
    """None means Stripe itself."""
    smtp_host: str = "127.0.0.1"
    smtp_port: int = 1025
    mail_from: str = "Orders <orders@shop.example>"
    operations_email: str = "operations@shop.example"
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    time_zone: str = "UTC"
    """In which the daily report is due at nine."""

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Unset variables keep their defaults; with STRIPE_API_KEY alone, payments go to Stripe itself."""
        default = cls()
        key = env.get("STRIPE_API_KEY")
        return cls(
            temporal_address=env.get("TEMPORAL_ADDRESS", default.temporal_address),
            temporal_namespace=env.get("TEMPORAL_NAMESPACE", default.temporal_namespace),
            task_queue=env.get("ORDERS_TASK_QUEUE", default.task_queue),
            database_url=env.get("ORDERS_DATABASE_URL", default.database_url),
            stripe_api_key=key or STANDIN_KEY,
            stripe_api_base=env.get("STRIPE_API_BASE") or (None if key else STANDIN_PAYMENTS),
            smtp_host=env.get("ORDERS_SMTP_HOST", default.smtp_host),
            smtp_port=int(env.get("ORDERS_SMTP_PORT", default.smtp_port)),
            mail_from=env.get("ORDERS_MAIL_FROM", default.mail_from),
            operations_email=env.get("ORDERS_OPERATIONS_EMAIL", default.operations_email),
            api_host=env.get("ORDERS_API_HOST", default.api_host),
            api_port=int(env.get("ORDERS_API_PORT", default.api_port)),
            time_zone=env.get("ORDERS_TIME_ZONE", default.time_zone),
        )
