"""The same patient for all, copied for each."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from tests.doctor.patient import make_patient


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("patient") / "whole.db"
    with asyncio.Runner() as runner:
        runner.run(make_patient(path))
    return path


@pytest.fixture
def patient(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(whole, tmp_path / "patient.db"))
