"""`perdure doctor` on the file just as a death left it: a copy, so that the next server need not wait."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any


def copied(database: Path, number: int) -> Path:
    """A copy of a file that nobody has open, with its log."""
    copy = database.with_name(f"died-{number}.db")
    shutil.copy(database, copy)
    log = database.with_name(database.name + "-wal")
    if log.exists():
        shutil.copy(log, copy.with_name(copy.name + "-wal"))
    return copy


async def check_file(database: Path) -> Any:
    """Nothing is wrong with the file. Returns what else the doctor says of it."""
    command = [sys.executable, "-m", "perdure.cli.main", "doctor", "--json", "--db-filename", str(database)]
    doctor = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await doctor.communicate()
    assert doctor.returncode == 0, f"perdure doctor finds in {database}:\n{output.decode()}"
    return json.loads(output)


async def check_last_file(database: Path) -> None:
    """Everything has ended, so no message is under way either."""
    said = await check_file(database)
    assert said["messages"] == 0, f"messages that were delivered are still in {database}: {said}"


async def check_copy(copy: Path) -> None:
    """The same of a copy, which is deleted when it is sound."""
    await check_file(copy)
    for file in copy.parent.glob(f"{copy.name}*"):
        file.unlink()
