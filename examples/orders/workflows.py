"""Workflows: what happens to an order, from the first post to the parcel's leaving, whatever fails in between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from examples.orders.activities import OrderActivities
    from examples.orders.domain import (
        Charge,
        Closing,
        Escalation,
        InvalidOrderError,
        Mail,
        Message,
        Notice,
        Order,
        OrderState,
        OutOfStockError,
        PaymentDeclinedError,
        Refund,
        ReportPeriod,
        Shipment,
        Status,
        StatusChange,
        WarehouseNotice,
        notifications_workflow_id,
    )

SHIPMENT_DEADLINE = timedelta(days=7)
BETWEEN_NOTIFICATIONS = timedelta(milliseconds=100)
ACTIVITY: workflow.ActivityConfig = {
    "start_to_close_timeout": timedelta(seconds=10),
    "retry_policy": RetryPolicy(
        initial_interval=timedelta(seconds=1),
        backoff_coefficient=2.0,
        maximum_interval=timedelta(seconds=30),
        maximum_attempts=3,
        non_retryable_error_types=[PaymentDeclinedError.__name__, InvalidOrderError.__name__],
    ),
}
NOTIFICATIONS = {
    Status.SHIPPED: (Mail.SHIPPED, Mail.RECEIPT, Mail.FEEDBACK),
    Status.CANCELLED: (Mail.CANCELLED, Mail.REFUNDED),
    Status.DECLINED: (Mail.DECLINED,),
    Status.OUT_OF_STOCK: (Mail.OUT_OF_STOCK, Mail.REFUNDED),
    Status.INVALID: (Mail.REJECTED,),
    Status.ESCALATED: (Mail.DELAYED,),
    Status.FAILED: (Mail.FAILED,),
}


@dataclass(frozen=True)
class Notifications:
    messages: list[Message]


@dataclass(frozen=True)
class Cancellation:
    reason: str


@workflow.defn
class OrderWorkflow:
    """One order. Steps that were begun are undone when the order cannot be completed.

    A step counts as begun before it is asked for: when an activity fails for good it may still have had its effect,
    so every compensation first looks whether there is anything to undo.
    """

    @workflow.init
    def __init__(self, order: Order) -> None:
        self._order = order
        self._history = [StatusChange(Status.RECEIVED, workflow.now().isoformat())]
        self._decision: Shipment | Cancellation | None = None
        self._charge_begun = self._allocation_begun = self._warehouse_told = False
        self._total_cents: int | None = None
        self._payment_id: str | None = None
        self._refund_id: str | None = None

    @workflow.run
    async def run(self, order: Order) -> OrderState:
        work = asyncio.create_task(self._process())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # A cancel request is one more way for the customer to change their mind. It must not cut a step in two: a
            # charge that is abandoned half-way can be neither kept nor refunded.
            self._decide(Cancellation("the workflow was cancelled"))
            await work
            if self.status().status is Status.CANCELLED:
                raise
        return self.status()

    async def _process(self) -> None:
        try:
            status, note = await self._fulfil()
            if status in (Status.OUT_OF_STOCK, Status.CANCELLED):
                await self._undo()
        except ActivityError as failure:
            await self._fail(str(failure.cause or failure))
            raise
        if status is Status.ESCALATED:
            await self._escalate(note)
        await self._end(status, note)

    async def _fail(self, note: str) -> None:
        """A step failed for good. Undo what was done, tell the customer, ask a person to look."""
        try:
            await self._undo()
        except ActivityError as failure:
            note = f"{note}; and undoing it failed: {failure.cause or failure}"
        await self._end(Status.FAILED, note)
        await self._escalate(note)

    async def _fulfil(self) -> tuple[Status, str]:
        """Take the order as far as it goes: its final status, and why."""
        order = self._order
        try:
            quote = await workflow.execute_activity_method(OrderActivities.validate_order, order, **ACTIVITY)
        except ActivityError as failure:
            return Status.INVALID, expected(failure, InvalidOrderError)
        self._total_cents = quote.total_cents
        self._enter(Status.VALIDATED)
        if isinstance(self._decision, Cancellation):
            return Status.CANCELLED, self._decision.reason

        self._charge_begun = True
        charge = Charge(order.id, quote.total_cents, quote.currency, order.payment_method, order.email)
        try:
            self._payment_id = await workflow.execute_activity_method(
                OrderActivities.charge_payment, charge, **ACTIVITY
            )
        except ActivityError as failure:
            declined = expected(failure, PaymentDeclinedError)
            self._charge_begun = False
            return Status.DECLINED, declined
        self._enter(Status.CHARGED)
        if isinstance(self._decision, Cancellation):
            return Status.CANCELLED, self._decision.reason

        self._allocation_begun = True
        try:
            await workflow.execute_activity_method(OrderActivities.allocate_stock, order, **ACTIVITY)
        except ActivityError as failure:
            return Status.OUT_OF_STOCK, expected(failure, OutOfStockError)
        self._enter(Status.ALLOCATED)

        self._enter(Status.CONFIRMED, await self._confirm())
        self._warehouse_told = True
        await workflow.execute_activity_method(
            OrderActivities.notify_warehouse, WarehouseNotice(order.id, Notice.PICK, order.lines), **ACTIVITY
        )
        self._enter(Status.AWAITING_SHIPMENT)

        try:
            await workflow.wait_condition(lambda: self._decision is not None, timeout=SHIPMENT_DEADLINE)
        except TimeoutError:
            return Status.ESCALATED, f"neither shipped nor cancelled within {SHIPMENT_DEADLINE.days} days"
        if isinstance(self._decision, Cancellation):
            return Status.CANCELLED, self._decision.reason
        return Status.SHIPPED, ""

    async def _confirm(self) -> str:
        """Mail the customer; a note if that failed, for an order whose confirmation got lost is still an order."""
        message = Message(self._order.id, Mail.CONFIRMATION, self._order.email)
        try:
            await workflow.execute_activity_method(OrderActivities.send_mail, message, **ACTIVITY)
        except ActivityError as failure:
            workflow.logger.error("no confirmation was sent: %s", failure.cause)
            return f"no confirmation was sent: {failure.cause}"
        return ""

    async def _undo(self) -> None:
        """Compensate what was begun, newest first. One that fails does not keep the others from being tried."""
        failures = []
        for step in (self._stop_warehouse, self._release_stock, self._refund):
            try:
                await step()
            except ActivityError as failure:
                failures.append(failure)
        if failures:
            raise failures[0]

    async def _stop_warehouse(self) -> None:
        if self._warehouse_told:
            stop = WarehouseNotice(self._order.id, Notice.STOP, self._order.lines)
            await workflow.execute_activity_method(OrderActivities.notify_warehouse, stop, **ACTIVITY)

    async def _release_stock(self) -> None:
        if self._allocation_begun and await workflow.execute_activity_method(
            OrderActivities.release_stock, self._order.id, **ACTIVITY
        ):
            self._enter(Status.RELEASED)

    async def _refund(self) -> None:
        if self._charge_begun:
            refund = Refund(self._order.id, self._payment_id)
            self._refund_id = await workflow.execute_activity_method(OrderActivities.refund_payment, refund, **ACTIVITY)
            if self._refund_id is not None:
                self._enter(Status.REFUNDED)

    async def _end(self, status: Status, note: str) -> None:
        """Close the order and leave its notifications to a workflow that outlives this one."""
        shipment = self._decision if isinstance(self._decision, Shipment) and status is Status.SHIPPED else None
        closing = Closing(self._order.id, status, shipment.tracking_number if shipment else None)
        await workflow.execute_activity_method(OrderActivities.close_order, closing, **ACTIVITY)
        details = {"reason": note}
        if shipment is not None:
            details |= {"carrier": shipment.carrier, "tracking_number": shipment.tracking_number}
        kinds = [kind for kind in NOTIFICATIONS[status] if kind is not Mail.REFUNDED or self._refund_id is not None]
        await workflow.start_child_workflow(
            NotificationsWorkflow.run,
            Notifications([Message(self._order.id, kind, self._order.email, details) for kind in kinds]),
            id=notifications_workflow_id(self._order.id),
            parent_close_policy=workflow.ParentClosePolicy.ABANDON,
        )
        self._enter(status, note)

    async def _escalate(self, why: str) -> None:
        await workflow.execute_activity_method(OrderActivities.escalate, Escalation(self._order.id, why), **ACTIVITY)

    def _enter(self, status: Status, note: str = "") -> None:
        self._history.append(StatusChange(status, workflow.now().isoformat(), note))

    @workflow.signal
    def shipment(self, shipment: Shipment) -> None:
        self._decide(shipment)

    @workflow.signal
    def cancel(self, reason: str) -> None:
        self._decide(Cancellation(reason))

    def _decide(self, decision: Shipment | Cancellation) -> None:
        if self._decision is None:
            self._decision = decision
        else:
            workflow.logger.warning("%s comes after %s and changes nothing", decision, self._decision)

    @workflow.query
    def status(self) -> OrderState:
        return OrderState(
            order=self._order,
            status=self._history[-1].status,
            total_cents=self._total_cents,
            payment_id=self._payment_id,
            refund_id=self._refund_id,
            tracking_number=self._decision.tracking_number if isinstance(self._decision, Shipment) else None,
            history=list(self._history),
        )


def expected(failure: ActivityError, error: type[Exception]) -> str:
    """What `error` said, when that is what failed the activity. Any other failure is raised again."""
    if isinstance(failure.cause, ApplicationError) and failure.cause.type == error.__name__:
        return failure.cause.message
    raise failure


@workflow.defn
class NotificationsWorkflow:
    """Sends messages one after the other, with a breath in between for the mail server."""

    @workflow.run
    async def run(self, notifications: Notifications) -> int:
        for number, message in enumerate(notifications.messages):
            if number:
                await workflow.sleep(BETWEEN_NOTIFICATIONS)
            await workflow.execute_activity_method(OrderActivities.send_mail, message, **ACTIVITY)
        return len(notifications.messages)


@workflow.defn
class DailyReportWorkflow:
    """Reports to the operations staff what happened since the last report. Started by a Temporal Schedule."""

    @workflow.run
    async def run(self) -> str:
        until = workflow.info().start_time
        days = 3 if until.weekday() == 0 else 1  # on Mondays the weekend is in it
        period = ReportPeriod((until - timedelta(days=days)).isoformat(), until.isoformat())
        return await workflow.execute_activity_method(OrderActivities.send_daily_report, period, **ACTIVITY)
