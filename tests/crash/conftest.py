"""PERDURE_CRASH_SEED repeats a run; without it each run has moments and loads of its own."""

from __future__ import annotations

import os
from random import SystemRandom

import pytest


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("PERDURE_CRASH_SEED") or SystemRandom().getrandbits(32))
