"""The engine's promises under random inputs (`machine.py`)."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.engine.machine import RunMachine

TestRun = RunMachine.TestCase
TestRun.settings = settings(
    max_examples=100,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
