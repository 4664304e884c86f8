"""`perdure doctor`: what it prints, how it ends, and which files it refuses to examine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import apsw
import pytest

from perdure.cli.main import main
from perdure.storage.sqlite import SqliteStore
from perdure.storage.sqlite import connection as connections
from perdure.storage.sqlite.migrate import migrations
from tests.doctor.patient import knife

NEWEST = migrations()[-1][0]


def doctor(path: Path, *options: str) -> int:
    """The exit status."""
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--db-filename", str(path), *options])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def refusal(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line about a file that cannot be examined."""
    assert doctor(path) == 2
    output = capsys.readouterr()
    assert output.out == ""
    [line] = output.err.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_a_sound_file_is_one_line_and_status_0(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(patient) == 0

    first, pace, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith("no fault found in ")
    assert pace.endswith(" events/s")


def test_faults_are_a_line_each_and_status_1(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with knife(patient) as blade:
        blade.sql("update runs set wake_at = null where execution_id in ('delayed', 'hourly')")

    assert doctor(patient) == 1

    *faults, summary = capsys.readouterr().out.splitlines()[:3]
    assert sorted(fault.split("'")[3] for fault in faults) == ["delayed", "hourly"]
    assert summary.startswith("2 faults found in ")


def test_programs_get_one_json_object(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with knife(patient) as blade:
        blade.sql("update runs set wake_at = null where execution_id = 'delayed'")

    assert doctor(patient, "--json") == 1

    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert not said["sound"]
    assert said["events"] > 0
    [fault] = said["faults"]
    assert (fault["check"], fault["execution_id"], fault["namespace"]) == ("wake", "delayed", "default")


def test_a_terminal_sees_how_far_it_is(
    patient: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)

    assert doctor(patient) == 0

    output = capsys.readouterr()
    assert "100%" in output.err
    assert output.out.startswith("no fault found")


async def test_a_file_can_be_examined_beside_the_server_that_writes_it(
    patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = SqliteStore(str(patient))
    await store.open()
    try:
        assert doctor(patient) == 0
    finally:
        await store.close()


def test_a_missing_file_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "missing.db"

    assert refusal(path, capsys) == f"there is no file {path}; name the file that a server was started with"
    assert not path.exists()


def test_a_directory_is_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is a directory" in refusal(tmp_path, capsys)


def test_another_file_is_no_database(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear Sir or Madam, " * 100)

    assert refusal(path, capsys) == f"{path} is not a SQLite database; choose another file"


def test_another_programs_database_is_not_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.db"
    other = apsw.Connection(str(path))
    other.execute("create table songs (title)")
    other.close()

    assert refusal(path, capsys) == f"{path} is the database of another program; choose another file"


def test_an_empty_file_is_not_examined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.db"
    path.touch()

    assert refusal(path, capsys) == f"{path} is empty: no server has written to it yet"


@pytest.mark.parametrize(
    ("written", "advice"), [(NEWEST + 1, "upgrade perdure"), (NEWEST - 1, "start a server on it once")]
)
def test_another_format_is_not_examined(
    patient: Path, capsys: pytest.CaptureFixture[str], written: int, advice: str
) -> None:
    with knife(patient) as blade:
        blade.sql("update meta set value = ? where name = 'format'", str(written).encode())

    line = refusal(patient, capsys)

    assert f"has format {written}" in line
    assert advice in line


def test_a_locked_file_is_said_to_be_locked(
    patient: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "BUSY_MS", 10)
    other = apsw.Connection(str(patient))
    other.pragma("journal_mode", "delete")
    other.execute("begin exclusive")
    try:
        line = refusal(patient, capsys)
    finally:
        other.close()

    assert line == f"database {patient} is locked by another program; close it and start again"


def test_damaged_pages_are_a_finding(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(patient.read_bytes())
    for page in range(3, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 200] = b"\xff" * 200
    patient.write_bytes(bytes(content))

    assert doctor(patient) == 1

    assert "the file is damaged" in capsys.readouterr().out
