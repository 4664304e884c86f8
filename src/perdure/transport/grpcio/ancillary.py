"""grpc.health.v1 and server reflection, beside our services on the same port. Both packages are grpcio's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import grpc


class Health:
    """Check and Watch. NOT_SERVING until `serve`, and again from `drain` on; "" stands for the whole server."""

    SERVICE: ClassVar = "grpc.health.v1.Health"

    def __init__(self, services: Sequence[str]) -> None:
        from grpc_health.v1 import health, health_pb2

        self._statuses = health_pb2.HealthCheckResponse
        self._messages = health_pb2
        self._names = ["", *services]
        self._servicer: Any = health.aio.HealthServicer()

    async def hold(self) -> None:
        """The state before readiness."""
        await self._set(self._statuses.NOT_SERVING)

    async def serve(self) -> None:
        await self._set(self._statuses.SERVING)

    async def drain(self) -> None:
        await self._servicer.enter_graceful_shutdown()

    async def _set(self, status: Any) -> None:
        for name in self._names:
            await self._servicer.set(name, status)

    def handlers(self) -> dict[str, Any]:
        codec = {
            "request_deserializer": self._messages.HealthCheckRequest.FromString,
            "response_serializer": self._messages.HealthCheckResponse.SerializeToString,
        }
        return {
            f"/{self.SERVICE}/Check": grpc.unary_unary_rpc_method_handler(self._servicer.Check, **codec),
            f"/{self.SERVICE}/Watch": grpc.unary_stream_rpc_method_handler(self._servicer.Watch, **codec),
        }


class Reflection:
    """v1 and v1alpha, which are the same messages under two names. Loaded when somebody first asks."""

    _PATHS = (
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    )

    def __init__(self, services: Sequence[str]) -> None:
        self._services = services
        self._handler: Any = None

    def handler(self, path: str) -> Any:
        """None for a path that is not reflection's."""
        if path not in self._PATHS:
            return None
        if self._handler is None:
            from grpc_reflection.v1alpha import reflection, reflection_pb2

            names = [*self._services, reflection.SERVICE_NAME]
            self._handler = grpc.stream_stream_rpc_method_handler(
                reflection.aio.ReflectionServicer(names).ServerReflectionInfo,
                request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
                response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
            )
        return self._handler
