"""Deliberate faults (`make mutants`) still fit the code. Who moves code moves the faults in it: see
tools/mutants/faults."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tools.mutants.fault import ROOT
from tools.mutants.faults import FAULTS


@pytest.mark.parametrize("area", sorted({fault.area for fault in FAULTS}))
def test_every_fault_is_in_the_code_exactly_once(area: str) -> None:
    for fault in FAULTS:
        if fault.area == area:
            assert fault.applied(), fault.name


def test_every_fault_has_a_name_of_its_own_and_changes_something() -> None:
    names = Counter((fault.area, fault.name) for fault in FAULTS)

    assert [name for name, count in names.items() if count > 1] == []
    assert [fault.name for fault in FAULTS if any(edit.old == edit.new for edit in fault.edits)] == []


def test_every_test_that_should_notice_a_fault_is_there() -> None:
    for test in {test for fault in FAULTS for test in fault.tests}:
        place, _, name = test.partition("::")
        path: Path = ROOT / place
        assert path.exists(), test
        if name:
            assert re.search(rf"def {name}\b", path.read_text()), test
