"""The pytest plugin: fixtures for servers whose time skips, and an explanation when a test fails or hangs.

It is found by pytest wherever Perdure is installed, so it imports nothing before a fixture is asked for.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from perdure.clock import SystemMonotonic

if TYPE_CHECKING:
    from temporalio.client import Client

    from perdure.testing.environment import TimeSkippingEnvironment
    from perdure.testing.server import TimeSkippingServer

Scope = Literal["session", "package", "module", "class", "function"]
SCOPES = ("function", "class", "module", "package", "session")

MARGIN = 0.2
MARGIN_SECONDS = 2.0
"""Waits of a test with a timeout give up so long before it (the smaller of the part and the seconds), so that they can
say why; half of that before it, the explanation is written for a test that waits for something else."""

_DEADLINE = pytest.StashKey[float]()
_WATCHDOG = pytest.StashKey[threading.Timer]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "how long a server of the perdure_* fixtures lives: function (the default), class, module, package, session"
    parser.getgroup("perdure").addoption("--perdure-scope", choices=SCOPES, help=text)
    parser.addini("perdure_scope", text, default="function")


def _scope(fixture_name: str, config: pytest.Config) -> Scope:
    scope = config.getoption("--perdure-scope") or config.getini("perdure_scope")
    if scope not in SCOPES:
        raise pytest.UsageError(f"perdure_scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    return cast("Scope", scope)


@pytest.fixture(scope=_scope)
def perdure_server_options() -> Mapping[str, Any]:
    """Override it to give `TimeSkippingServer` options, such as {"namespaces": ["shop"]}."""
    return {}


@pytest.fixture(scope=_scope)
def perdure_client_options() -> Mapping[str, Any]:
    """Override it to give `Client.connect` options, such as {"data_converter": ...}."""
    return {}


@pytest.fixture(scope=_scope)
def perdure_server(perdure_server_options: Mapping[str, Any]) -> Iterator[TimeSkippingServer]:
    """A server whose time skips."""
    from perdure.testing.server import TimeSkippingServer

    with TimeSkippingServer(**perdure_server_options) as server:
        yield server


@pytest.fixture(scope=_scope)
def perdure_env(
    perdure_server: TimeSkippingServer, perdure_client_options: Mapping[str, Any]
) -> TimeSkippingEnvironment:
    """A WorkflowEnvironment on `perdure_server`. Not an async fixture: it works whatever runs the test's coroutine."""
    from perdure.testing.environment import TimeSkippingEnvironment

    return TimeSkippingEnvironment.on(perdure_server, **perdure_client_options)


@pytest.fixture(scope=_scope)
def perdure_client(perdure_env: TimeSkippingEnvironment) -> Client:
    """The client of `perdure_env`."""
    return perdure_env.client


# ---- explaining
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        text = _explanation(item)
        if text:
            report.sections.append(("what the Perdure server waits for", text))
    return report


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Be quicker than pytest-timeout. It ends the process, or leaves the loop with all tasks as they were, and the
    SDK's worker does not survive what pytest-asyncio does to them then: the test would hang again, without a word."""
    margin = min(MARGIN_SECONDS, settings.timeout * MARGIN)
    item.stash[_DEADLINE] = SystemMonotonic().now() + settings.timeout - margin
    watchdog = threading.Timer(settings.timeout - margin / 2, _write_explanation, [item])
    watchdog.daemon = True
    item.stash[_WATCHDOG] = watchdog
    watchdog.start()


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    watchdog = item.stash.get(_WATCHDOG, None)
    if watchdog is not None:
        watchdog.cancel()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    server = _server_of(item)
    if server is None:
        return (yield)
    server.deadline = item.stash.get(_DEADLINE, None)
    try:
        return (yield)
    finally:
        server.deadline = None


def _server_of(item: pytest.Item) -> TimeSkippingServer | None:
    """The one that `item` uses, directly or through other fixtures."""
    server: TimeSkippingServer | None = getattr(item, "funcargs", {}).get("perdure_server")
    return server


def _explanation(item: pytest.Item) -> str:
    server = _server_of(item)
    if server is None or not server.running:
        return ""
    try:
        return "\n".join([*server.given_up, server.explain()])
    except Exception as error:  # a report that fails would end pytest, and hide why the test failed
        return f"it could not be asked: {error!r}"


def _write_explanation(item: pytest.Item) -> None:
    text = _explanation(item)
    if not text:
        return
    capture = item.config.pluginmanager.getplugin("capturemanager")
    with nullcontext() if capture is None else capture.global_and_fixture_disabled():
        sys.stderr.write(f"\n{item.nodeid} is about to time out; the Perdure server's view:\n{text}\n")
        sys.stderr.flush()
