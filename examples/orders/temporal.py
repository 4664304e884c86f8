"""The Temporal side of the shop: connecting with patience, and orders as workflows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from temporalio.api.workflowservice.v1 import GetSystemInfoRequest
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from examples.orders.domain import Order, OrderState, Shipment, order_workflow_id
from examples.orders.settings import Settings
from examples.orders.workflows import OrderWorkflow

CALL_TIMEOUT = timedelta(seconds=10)
QUERY_TIMEOUT = timedelta(seconds=5)


async def connect(settings: Settings, report: Callable[[str], None], patience_seconds: float = 120.0) -> Client:
    """Wait for the server, saying so. Raises ConnectionError when it does not come."""
    give_up = time.monotonic() + patience_seconds
    told = False
    while True:
        try:
            return await Client.connect(settings.temporal_address, namespace=settings.temporal_namespace)
        except RuntimeError as error:
            if time.monotonic() > give_up:
                message = f"no Temporal server at {settings.temporal_address} in {patience_seconds:.0f} s: {error}"
                raise ConnectionError(message) from error
            if not told:
                report(f"waiting for a Temporal server at {settings.temporal_address} (TEMPORAL_ADDRESS)")
                told = True
            await asyncio.sleep(0.2)


class UnknownOrderError(Exception):
    """There is no order with this ID."""


class ClosedOrderError(Exception):
    """The order has ended; it can be neither shipped nor cancelled."""


class UnavailableError(Exception):
    """The answer has to wait: the server or all workers are away. Asking again is safe."""


@dataclass(frozen=True, slots=True)
class Started:
    workflow_id: str
    duplicate: bool


class Orders(Protocol):
    """What the HTTP API needs to know of orders. All raise UnavailableError."""

    async def start(self, order: Order) -> Started: ...

    async def status(self, order_id: str) -> OrderState:
        """Raises UnknownOrderError."""
        ...

    async def ship(self, order_id: str, shipment: Shipment) -> None:
        """Raises UnknownOrderError, ClosedOrderError."""
        ...

    async def cancel(self, order_id: str, reason: str) -> None:
        """Raises UnknownOrderError, ClosedOrderError."""
        ...

    async def check(self) -> None:
        """Whether the server answers."""
        ...


class TemporalOrders:
    def __init__(self, client: Client, task_queue: str) -> None:
        self._client = client
        self._task_queue = task_queue

    async def start(self, order: Order) -> Started:
        workflow_id = order_workflow_id(order.id)
        try:
            await self._client.start_workflow(
                OrderWorkflow.run,
                order,
                id=workflow_id,
                task_queue=self._task_queue,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,  # a closed order is not started again either
                id_conflict_policy=WorkflowIDConflictPolicy.FAIL,  # and we want to know, to say so
                rpc_timeout=CALL_TIMEOUT,
            )
        except WorkflowAlreadyStartedError:
            return Started(workflow_id, duplicate=True)
        except RPCError as error:
            raise UnavailableError(str(error)) from error
        return Started(workflow_id, duplicate=False)

    async def status(self, order_id: str) -> OrderState:
        handle = self._client.get_workflow_handle_for(OrderWorkflow.run, order_workflow_id(order_id))
        try:
            return await handle.query(OrderWorkflow.status, rpc_timeout=QUERY_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                raise UnknownOrderError(order_id) from error
            raise UnavailableError(f"no worker answered for the order: {error}") from error
        except (WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            raise UnavailableError(f"the order cannot answer now: {error}") from error

    async def ship(self, order_id: str, shipment: Shipment) -> None:
        handle = self._client.get_workflow_handle_for(OrderWorkflow.run, order_workflow_id(order_id))
        try:
            await handle.signal(OrderWorkflow.shipment, shipment, rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            raise await self._why_not(order_id, error) from error

    async def cancel(self, order_id: str, reason: str) -> None:
        handle = self._client.get_workflow_handle_for(OrderWorkflow.run, order_workflow_id(order_id))
        try:
            await handle.signal(OrderWorkflow.cancel, reason, rpc_timeout=CALL_TIMEOUT)
        except RPCError as error:
            raise await self._why_not(order_id, error) from error

    async def _why_not(self, order_id: str, error: RPCError) -> Exception:
        """A signal's NOT_FOUND means either of two things to the customer."""
        if error.status is not RPCStatusCode.NOT_FOUND:
            return UnavailableError(str(error))
        handle = self._client.get_workflow_handle(order_workflow_id(order_id))
        try:
            description = await handle.describe(rpc_timeout=CALL_TIMEOUT)
        except RPCError as gone:
            if gone.status is RPCStatusCode.NOT_FOUND:
                return UnknownOrderError(order_id)
            return UnavailableError(str(gone))
        if description.status is WorkflowExecutionStatus.RUNNING:
            return UnavailableError(str(error))
        return ClosedOrderError(order_id)

    async def check(self) -> None:
        try:
            await self._client.workflow_service.get_system_info(GetSystemInfoRequest(), timeout=timedelta(seconds=2))
        except RPCError as error:
            raise UnavailableError(str(error)) from error
