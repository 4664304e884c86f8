"""A pytest plugin: `--times N` runs each test N times."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--times", type=int, default=1)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    times = metafunc.config.getoption("--times")
    metafunc.fixturenames.append("repetition")
    metafunc.parametrize("repetition", range(times))
