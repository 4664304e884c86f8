"""All RPCs we know, from the descriptors of the `temporalio` package, each with the handler that answers it.

Handlers are methods of plain objects, named as the RPC: `def SignalWorkflowExecution(self, request, call)`. The class
attribute `service` names the gRPC service (WorkflowService when absent). An RPC without a handler answers UNIMPLEMENTED
by name, in the wording that SDKs look for when they decide that a server is merely old.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from perdure.api.call import Call, Handler, Pending, Reply
from perdure.errors import Unimplemented

WORKFLOW_SERVICE = "temporal.api.workflowservice.v1.WorkflowService"
OPERATOR_SERVICE = "temporal.api.operatorservice.v1.OperatorService"
TEST_SERVICE = "temporal.api.testservice.v1.TestService"

SERVED = (WORKFLOW_SERVICE, OPERATOR_SERVICE)
"""Always served; any other service only when a handler object names it."""

_DESCRIPTOR_MODULES: Mapping[str, str] = {
    WORKFLOW_SERVICE: "temporalio.api.workflowservice.v1.service_pb2",
    OPERATOR_SERVICE: "temporalio.api.operatorservice.v1.service_pb2",
    TEST_SERVICE: "temporalio.api.testservice.v1.service_pb2",
}

AsyncHandler = Callable[[Message, Call], Coroutine[Any, Any, Reply]]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC. `name` is the full path, `/<service>/<rpc>`; `is_async` says that `handler` returns a coroutine."""

    name: str
    service: str
    rpc: str
    request_class: type[Message]
    response_class: type[Message]
    handler: Handler | AsyncHandler
    is_async: bool
    implemented: bool


def build_methods(handler_objects: Sequence[object]) -> dict[str, Method]:
    """Every RPC of the served services by its full name.

    Raises TypeError for what only a programming error can cause: a service nobody knows, a handler named as no RPC of
    its service, two handlers for one RPC.
    """
    handlers: dict[tuple[str, str], Any] = {}
    services = list(SERVED)
    for handler_object in handler_objects:
        service = getattr(handler_object, "service", WORKFLOW_SERVICE)
        if service not in _DESCRIPTOR_MODULES:
            raise TypeError(f"{type(handler_object).__name__} answers for {service!r}, which is no known service")
        if service not in services:
            services.append(service)
        for rpc, handler in _handlers_of(handler_object):
            if (service, rpc) in handlers:
                raise TypeError(f"{type(handler_object).__name__} is the second to answer {rpc} of {service}")
            handlers[service, rpc] = handler
    methods: dict[str, Method] = {}
    for service in services:
        for descriptor in _describe(service).methods:
            method = _method(service, descriptor, handlers.pop((service, descriptor.name), None))
            methods[method.name] = method
    if handlers:
        strangers = ", ".join(f"{rpc} of {service}" for service, rpc in handlers)
        raise TypeError(f"handlers that are no RPC: {strangers}")
    return methods


def served_rpcs(handler_kinds: Iterable[type]) -> frozenset[tuple[str, str]]:
    """(service, RPC) of all that these classes answer, known without a server to run them."""
    return frozenset(
        (getattr(kind, "service", WORKFLOW_SERVICE), name)
        for kind in handler_kinds
        for name in dir(kind)
        if name[0].isupper() and callable(getattr(kind, name))
    )


def unknown_method(path: str) -> str:
    """The text for a path that is in no table, such as `/temporal.api…WorkflowService/GetFoo`."""
    service, _, rpc = path.lstrip("/").rpartition("/")
    if service in _DESCRIPTOR_MODULES:
        return _unknown(service, rpc)
    return f"unknown service {service}"


def _handlers_of(handler_object: object) -> Iterator[tuple[str, Any]]:
    for name in dir(type(handler_object)):
        if name[0].isupper():
            handler = getattr(handler_object, name)
            if callable(handler):
                yield name, handler


def _describe(service: str) -> ServiceDescriptor:
    module = import_module(_DESCRIPTOR_MODULES[service])
    descriptor: ServiceDescriptor = module.DESCRIPTOR.services_by_name[service.rpartition(".")[2]]
    return descriptor


def _method(service: str, descriptor: MethodDescriptor, handler: Any) -> Method:
    rpc = descriptor.name
    return Method(
        name=f"/{service}/{rpc}",
        service=service,
        rpc=rpc,
        request_class=GetMessageClass(descriptor.input_type),
        response_class=GetMessageClass(descriptor.output_type),
        handler=handler or _unimplemented(service, rpc),
        is_async=inspect.iscoroutinefunction(handler),
        implemented=handler is not None,
    )


def _unimplemented(service: str, rpc: str) -> Handler:
    def refuse(request: Message, call: Call) -> Reply | Pending:
        raise Unimplemented(_unknown(service, rpc))

    return refuse


def _unknown(service: str, rpc: str) -> str:
    # Java's SDK accepts a server without GetSystemInfo only when the text is exactly this.
    return f"unknown method {rpc} for service {service}"
