"""docs/compatibility.md says what the code says."""

from __future__ import annotations

import re

from tools import compatibility
from tools.compatibility import PAGE, PARTLY, SERVICES, WHY_NOT


def served() -> set[str]:
    return {rpc for service in SERVICES for rpc, there in compatibility.rpcs(service) if there}


def unserved() -> set[str]:
    return {rpc for service in SERVICES for rpc, there in compatibility.rpcs(service) if not there}


def test_the_page_is_as_the_code_would_write_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == compatibility.page(), "run `make docs`"


def test_notes_of_what_is_lacking_are_about_rpcs_that_are_served() -> None:
    assert set(PARTLY) <= served()


def test_a_reason_why_an_rpc_is_not_there_is_true_of_one() -> None:
    missing = unserved()
    idle = [pattern for pattern in WHY_NOT if not any(re.fullmatch(pattern, rpc) for rpc in missing)]
    assert idle == []


def test_the_engine_writes_the_events_that_every_history_has() -> None:
    written = compatibility.events_written()

    assert {"EVENT_TYPE_WORKFLOW_EXECUTION_STARTED", "EVENT_TYPE_TIMER_FIRED"} <= written
    assert "EVENT_TYPE_UNSPECIFIED" not in written
