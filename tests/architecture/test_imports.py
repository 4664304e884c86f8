"""Imports point one way, and what decides imports no I/O: see docs/architecture.md."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src"

SEAMS = {
    "perdure.enums",
    "perdure.errors",
    "perdure.clock.Entropy",
    "perdure.clock.Time",
    "perdure.clock.Monotonic",
    "perdure.clock.SECOND",
}
"""Open to every package: typed failures, the API's enums, the types (never implementations) of time and entropy."""

MAY_USE = {
    "engine": {"perdure.engine", "perdure.visibility.attributes"},
    "matching": {"perdure.matching", "perdure.engine"},
    "visibility": {"perdure.visibility"},
    "storage": {"perdure.storage", "perdure.visibility", "perdure.__version__"},
    "runtime": {
        "perdure.runtime",
        "perdure.engine",
        "perdure.matching",
        "perdure.visibility",
        "perdure.storage.store",
        "perdure.call",
        "perdure.config",
        "perdure.log",
        "perdure.clock.SkippingTime",
    },
    "api": {
        "perdure.api",
        "perdure.call",
        "perdure.runtime",
        "perdure.engine",
        "perdure.matching",
        "perdure.visibility",
        "perdure.storage.store",
        "perdure.log",
        "perdure.__version__",
    },
    "transport": {"perdure.transport", "perdure.api", "perdure.call", "perdure.log"},
    "doctor": {
        "perdure.doctor",
        "perdure.engine",
        "perdure.visibility",
        "perdure.storage",
        "perdure.runtime.namespaces",
        "perdure.runtime.search_values",
    },
}
"""What each package sees of ours, beside the seams. `cli` and `server` put the parts together and see all."""

IMPURE = {
    "apsw", "asyncio", "concurrent", "grpc", "logging", "multiprocessing", "os", "random", "secrets", "select",
    "socket", "sqlite3", "structlog", "subprocess", "threading", "time", "uuid", "uvloop",
}  # fmt: skip

MUST_NOT_USE = {
    "engine": IMPURE,
    "matching": IMPURE,
    "visibility": IMPURE,
    "storage": {"asyncpg", "grpc", "google", "temporalio", "random", "time", "uuid"},
    "runtime": {"apsw", "grpc", "sqlite3", "random", "time", "uuid"},
    "api": {"apsw", "grpc", "grpc_health", "grpc_reflection", "sqlite3", "random", "time", "uuid"},
    "transport": {"apsw", "sqlite3", "random", "time", "uuid"},
    "doctor": IMPURE,
}
"""Libraries, by their top-level name. Storage knows no messages: its rows are bytes and scalars."""


def imports_of(path: Path) -> set[str]:
    """Dotted names that `path` imports, `from a import b` as `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


@pytest.mark.parametrize("package", MAY_USE)
def test_a_package_imports_only_what_its_place_allows(package: str) -> None:
    modules = sorted((SOURCES / "perdure" / package).rglob("*.py"))
    assert modules, f"no such package: {package}"

    wrong = [
        f"{module.relative_to(SOURCES)} imports {name}"
        for module in modules
        for name in sorted(imports_of(module))
        if (within(name, {"perdure"}) and not within(name, MAY_USE[package] | SEAMS))
        or name.split(".")[0] in MUST_NOT_USE[package]
    ]

    assert wrong == []


def test_no_module_of_one_store_knows_another() -> None:
    stores = [path for path in (SOURCES / "perdure" / "storage").iterdir() if (path / "__init__.py").exists()]

    wrong = [
        f"{module.relative_to(SOURCES)} imports {name}"
        for store in stores
        for module in sorted(store.rglob("*.py"))
        for name in sorted(imports_of(module))
        if within(name, {f"perdure.storage.{other.name}" for other in stores if other != store})
    ]

    assert wrong == []
