"""The TestService by raw calls."""

from __future__ import annotations

from typing import Any

import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.testservice.v1 import (
    LockTimeSkippingRequest,
    SleepRequest,
    SleepUntilRequest,
    UnlockTimeSkippingRequest,
)
from temporalio.api.testservice.v1 import service_pb2 as test_service

from tests.api.client import SECONDS, Refused

_SERVICE = test_service.DESCRIPTOR.services_by_name["TestService"]

MINUTE = 60.0
HOUR = 3600.0
DAY = 86_400.0


class Clock:
    """Each RPC of the TestService as a method; times are float seconds since 1970."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._callers = {
            method.name: channel.unary_unary(
                f"/{_SERVICE.full_name}/{method.name}",
                request_serializer=lambda request: request.SerializeToString(),
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )
            for method in _SERVICE.methods
        }

    async def now(self) -> float:
        response = await self._call("GetCurrentTime", Empty())
        return float(response.time.seconds + response.time.nanos / 1e9)

    async def lock(self) -> None:
        await self._call("LockTimeSkipping", LockTimeSkippingRequest())

    async def unlock(self) -> None:
        await self._call("UnlockTimeSkipping", UnlockTimeSkippingRequest())

    async def sleep(self, seconds: float, *, within: float | None = SECONDS) -> None:
        await self._call("Sleep", SleepRequest(duration=duration(seconds)), within)

    async def sleep_until(self, moment: float, *, within: float | None = SECONDS) -> None:
        timestamp = Timestamp(seconds=int(moment), nanos=int(moment % 1 * 1e9))
        await self._call("SleepUntil", SleepUntilRequest(timestamp=timestamp), within)

    async def skip(self, seconds: float, *, within: float | None = SECONDS) -> None:
        """UnlockTimeSkippingWithSleep."""
        await self._call("UnlockTimeSkippingWithSleep", SleepRequest(duration=duration(seconds)), within)

    async def _call(self, rpc: str, request: Any, within: float | None = SECONDS) -> Any:
        try:
            return await self._callers[rpc](request, timeout=within)
        except grpc.aio.AioRpcError as error:
            raise Refused(error.code().name, error.details() or "") from error


def about(seconds: float) -> Any:
    """Virtual seconds, give or take what the calls around them took."""
    return pytest.approx(seconds, abs=1.0)


def duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
