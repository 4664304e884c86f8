"""A stand-in for the part of Stripe this shop uses, as a process of its own with its state in a SQLite file.

It keeps Stripe's promises that matter here: a repeated Idempotency-Key gets the first answer again (also a refusal by
the bank), the same key with other parameters is an error, test cards are declined as documented, and what it
acknowledged survives a kill, because answer and effect are written in one transaction.
Source: https://docs.stripe.com/api/idempotent_requests, https://docs.stripe.com/testing
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

SCHEMA = """
create table if not exists payment_intents (
    number integer primary key, id text unique, created integer, amount integer, currency text, status text,
    payment_method text, receipt_email text, metadata text, last_error text, refunded integer default 0);
create table if not exists refunds (
    number integer primary key, id text unique, created integer, payment_intent text, amount integer, currency text,
    metadata text);
create table if not exists answers (key text primary key, fingerprint text, status integer, body text);
create table if not exists requests (
    number integer primary key, at real, method text, path text, key text, replayed integer, status integer);
"""

DECLINES = {
    "pm_card_chargeDeclined": ("card_declined", "generic_decline", "Your card was declined."),
    "pm_card_visa_chargeDeclined": ("card_declined", "generic_decline", "Your card was declined."),
    "pm_card_chargeDeclinedInsufficientFunds": (
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    "pm_card_visa_chargeDeclinedInsufficientFunds": (
        "card_declined",
        "insufficient_funds",
        "Your card has insufficient funds.",
    ),
    "pm_card_chargeDeclinedLostCard": ("card_declined", "lost_card", "Your card was declined."),
    "pm_card_chargeDeclinedStolenCard": ("card_declined", "stolen_card", "Your card was declined."),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", "", "Your card has expired."),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", "", "Your card's security code is incorrect."),
    "pm_card_chargeDeclinedProcessingError": (
        "processing_error",
        "",
        "An error occurred while processing your card. Try again in a little bit.",
    ),
}

SLOW_CARD = "pm_card_visa_slowAnswer"
"""Not one of Stripe's: charged at once, but the first answer comes late. Kill somebody meanwhile."""
SLOW_ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: dict[str, Any]
    replayed: bool = False


class Refused(Exception):
    """An answer that is an error in Stripe's format. `kept` ones are remembered under the idempotency key."""

    def __init__(self, status: int, kind: str, message: str, *, kept: bool = False, **more: Any) -> None:
        super().__init__(message)
        self.kept = kept
        self.answer = Answer(status, {"error": {"type": kind, "message": message} | more})


Params = dict[str, str]
Handler = Callable[[sqlite3.Connection, Params], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class PostedRequest:
    key: str | None
    replayed: bool


class Books:
    """The stand-in's state. Each request is one transaction that holds the write lock from its start."""

    def __init__(self, file: Path) -> None:
        self._file = file
        with closing(self._connect()) as db:
            db.execute("pragma journal_mode = wal")
            db.executescript(SCHEMA)

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._file, timeout=5, isolation_level=None)
        db.row_factory = sqlite3.Row
        return db

    def read(self, handler: Handler, params: Params) -> Answer:
        with closing(self._connect()) as db:
            try:
                return Answer(HTTPStatus.OK, handler(db, params))
            except Refused as refused:
                return refused.answer

    def write(self, path: str, key: str | None, params: Params, handler: Handler) -> Answer:
        fingerprint = hashlib.sha256(json.dumps([path, sorted(params.items())]).encode()).hexdigest()
        with closing(self._connect()) as db:
            db.execute("begin immediate")
            try:
                answer = self._answer(db, key, fingerprint, params, handler)
                db.execute(
                    "insert into requests (at, method, path, key, replayed, status) values (?, 'POST', ?, ?, ?, ?)",
                    (time.time(), path, key, answer.replayed, answer.status),
                )
                db.execute("commit")
            except BaseException:
                db.execute("rollback")
                raise
            return answer

    def requests(self) -> list[PostedRequest]:
        """All that were answered, in order, also those answered from memory."""
        with closing(self._connect()) as db:
            rows = db.execute("select key, replayed from requests order by number").fetchall()
        return [PostedRequest(row["key"], bool(row["replayed"])) for row in rows]

    @staticmethod
    def _answer(db: sqlite3.Connection, key: str | None, fingerprint: str, params: Params, handler: Handler) -> Answer:
        if key is not None:
            known = db.execute("select * from answers where key = ?", (key,)).fetchone()
            if known is not None and known["fingerprint"] != fingerprint:
                message = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used "
                    f"with. Try using a key other than '{key}' if you meant to execute a different request."
                )
                return Answer(HTTPStatus.BAD_REQUEST, {"error": {"type": "idempotency_error", "message": message}})
            if known is not None:
                return Answer(known["status"], json.loads(known["body"]), replayed=True)
        try:
            answer = Answer(HTTPStatus.OK, handler(db, params))
        except Refused as refused:
            answer = refused.answer
            if not refused.kept:
                return answer  # a request that was never carried out may be repeated with the key
        if key is not None:
            db.execute(
                "insert into answers values (?, ?, ?, ?)", (key, fingerprint, answer.status, json.dumps(answer.body))
            )
        return answer


def nested(params: Params, name: str) -> dict[str, str]:
    """`metadata[order_id]=7` as {"order_id": "7"}."""
    return {key[len(name) + 1 : -1]: value for key, value in params.items() if key.startswith(f"{name}[")}


def missing(param: str) -> Refused:
    return Refused(400, "invalid_request_error", f"Missing required param: {param}.", param=param)


def unknown(kind: str, identifier: str) -> Refused:
    return Refused(404, "invalid_request_error", f"No such {kind}: '{identifier}'", code="resource_missing")


def intent_json(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "payment_intent",
        "amount": row["amount"],
        "amount_received": row["amount"] if row["status"] == "succeeded" else 0,
        "created": row["created"],
        "currency": row["currency"],
        "livemode": False,
        "status": row["status"],
        "payment_method": row["payment_method"],
        "receipt_email": row["receipt_email"],
        "metadata": json.loads(row["metadata"]),
        "last_payment_error": json.loads(row["last_error"]) if row["last_error"] else None,
    }


def refund_json(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "object": "refund",
        "amount": row["amount"],
        "created": row["created"],
        "currency": row["currency"],
        "payment_intent": row["payment_intent"],
        "status": "succeeded",
        "metadata": json.loads(row["metadata"]),
    }


def find_intent(db: sqlite3.Connection, identifier: str) -> sqlite3.Row:
    row: sqlite3.Row | None = db.execute("select * from payment_intents where id = ?", (identifier,)).fetchone()
    if row is None:
        raise unknown("payment_intent", identifier)
    return row


def create_intent(db: sqlite3.Connection, params: Params) -> dict[str, Any]:
    for name in ("amount", "currency"):
        if name not in params:
            raise missing(name)
    if not params["amount"].isdecimal() or int(params["amount"]) < 50:
        message = "Amount must be at least €0.50 eur"
        raise Refused(400, "invalid_request_error", message, code="amount_too_small", param="amount")
    identifier = f"pi_{secrets.token_hex(12)}"
    status = "requires_confirmation" if "payment_method" in params else "requires_payment_method"
    db.execute(
        "insert into payment_intents (id, created, amount, currency, status, payment_method, receipt_email, metadata) "
        "values (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            identifier,
            int(time.time()),
            int(params["amount"]),
            params["currency"],
            status,
            params.get("payment_method"),
            params.get("receipt_email"),
            json.dumps(nested(params, "metadata")),
        ),
    )
    if params.get("confirm") == "true":
        return confirm_intent(db, params | {"id": identifier})
    return intent_json(find_intent(db, identifier))


def confirm_intent(db: sqlite3.Connection, params: Params) -> dict[str, Any]:
    intent = find_intent(db, params["id"])
    method = params.get("payment_method", intent["payment_method"])
    if intent["status"] not in ("requires_confirmation", "requires_payment_method"):
        message = f"You cannot confirm this PaymentIntent because it has already {intent['status']}."
        raise Refused(400, "invalid_request_error", message, code="payment_intent_unexpected_state")
    if method is None:
        raise missing("payment_method")
    if method in DECLINES:
        code, decline_code, message = DECLINES[method]
        error = {"type": "card_error", "code": code, "message": message}
        if decline_code:
            error["decline_code"] = decline_code
        db.execute(
            "update payment_intents set status = 'requires_payment_method', payment_method = null, last_error = ? "
            "where id = ?",
            (json.dumps(error), intent["id"]),
        )
        more: dict[str, Any] = {k: v for k, v in error.items() if k not in ("type", "message")}
        declined = intent_json(find_intent(db, intent["id"]))
        raise Refused(402, "card_error", message, kept=True, payment_intent=declined, **more)
    if not method.startswith("pm_card_"):
        raise unknown("PaymentMethod", method)
    db.execute(
        "update payment_intents set status = 'succeeded', payment_method = ? where id = ?", (method, intent["id"])
    )
    return intent_json(find_intent(db, intent["id"]))


def create_refund(db: sqlite3.Connection, params: Params) -> dict[str, Any]:
    if "payment_intent" not in params:
        raise missing("payment_intent")
    intent = find_intent(db, params["payment_intent"])
    if intent["status"] != "succeeded":
        message = f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        raise Refused(400, "invalid_request_error", message)
    left = intent["amount"] - intent["refunded"]
    amount = int(params.get("amount", left))
    if left == 0:
        message = f"Charge for {intent['id']} has already been refunded."
        raise Refused(400, "invalid_request_error", message, code="charge_already_refunded")
    if not 0 < amount <= left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})"
        raise Refused(400, "invalid_request_error", message, param="amount")
    identifier = f"re_{secrets.token_hex(12)}"
    db.execute("update payment_intents set refunded = refunded + ? where id = ?", (amount, intent["id"]))
    db.execute(
        "insert into refunds (id, created, payment_intent, amount, currency, metadata) values (?, ?, ?, ?, ?, ?)",
        (
            identifier,
            int(time.time()),
            intent["id"],
            amount,
            intent["currency"],
            json.dumps(nested(params, "metadata")),
        ),
    )
    return refund_json(db.execute("select * from refunds where id = ?", (identifier,)).fetchone())


def lister(table: str, to_json: Callable[[sqlite3.Row], dict[str, Any]]) -> Handler:
    """Newest first, filtered by `created[gte]`, paged by `limit` and `starting_after`, as Stripe's lists are."""

    def handler(db: sqlite3.Connection, params: Params) -> dict[str, Any]:
        limit = int(params.get("limit", 10))
        if not 1 <= limit <= 100:
            raise Refused(400, "invalid_request_error", "limit is between 1 and 100", param="limit")
        before = float("inf")
        if after := params.get("starting_after"):
            row = db.execute(f"select number from {table} where id = ?", (after,)).fetchone()
            if row is None:
                raise unknown(table, after)
            before = row["number"]
        rows = db.execute(
            f"select * from {table} where created >= ? and number < ? order by number desc limit ?",
            (int(params.get("created[gte]", 0)), before, limit + 1),
        ).fetchall()
        return {
            "object": "list",
            "url": f"/v1/{table}",
            "has_more": len(rows) > limit,
            "data": [to_json(row) for row in rows[:limit]],
        }

    return handler


def get_intent(db: sqlite3.Connection, params: Params) -> dict[str, Any]:
    return intent_json(find_intent(db, params["id"]))


def create_app(file: Path, slow_answer_seconds: float = SLOW_ANSWER_SECONDS) -> Starlette:
    books = Books(file)

    async def serve(request: Request, handler: Handler) -> Response:
        if not request.headers.get("authorization", "").removeprefix("Bearer ").startswith("sk_"):
            return reply(Refused(401, "invalid_request_error", "You did not provide an API key.").answer)
        params = dict(request.path_params)
        if request.method == "GET":
            return reply(await run_in_threadpool(books.read, handler, params | dict(request.query_params)))
        params |= dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
        key = request.headers.get("idempotency-key")
        answer = await run_in_threadpool(books.write, request.url.path, key, params, handler)
        if params.get("payment_method") == SLOW_CARD and not answer.replayed:
            await asyncio.sleep(slow_answer_seconds)
        return reply(answer)

    def reply(answer: Answer) -> Response:
        headers = {"Request-Id": f"req_{secrets.token_hex(8)}"}
        if answer.replayed:
            headers["Idempotent-Replayed"] = "true"
        return Response(json.dumps(answer.body), answer.status, headers, "application/json")

    def route(method: str, path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await serve(request, handler)

        return Route(path, endpoint, methods=[method])

    return Starlette(
        routes=[
            route("POST", "/v1/payment_intents", create_intent),
            route("GET", "/v1/payment_intents", lister("payment_intents", intent_json)),
            route("GET", "/v1/payment_intents/{id}", get_intent),
            route("POST", "/v1/payment_intents/{id}/confirm", confirm_intent),
            route("POST", "/v1/refunds", create_refund),
            route("GET", "/v1/refunds", lister("refunds", refund_json)),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--port", type=int, default=12111)
    parser.add_argument("--file", type=Path, default=Path("payments.db"))
    arguments = parser.parse_args()
    uvicorn.run(create_app(arguments.file), host="127.0.0.1", port=arguments.port)


if __name__ == "__main__":
    main()
