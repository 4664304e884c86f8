"""A sound file has no fault, whatever is pending in it, and is not changed by being looked at."""

from __future__ import annotations

from pathlib import Path

from perdure.doctor import examine


def test_a_file_with_everything_pending_has_no_fault(patient: Path) -> None:
    before = patient.read_bytes()

    findings = examine(str(patient))

    assert findings.faults == []
    assert findings.executions > 15
    assert findings.events > 50
    assert findings.messages >= 3
    assert patient.read_bytes() == before
