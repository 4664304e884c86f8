"""Lists and counts."""

from __future__ import annotations

from tools.mutants.fault import Area

AREA = Area("visibility", "tests/storage/test_contract.py", "tests/visibility", "tests/api/test_visibility.py")
fault = AREA.fault

fault(
    "a closed run stays in its place among the open ones",
    "runtime/run_writes.py",
    "            change = VisibilityChange.STATUS if moved else VisibilityChange.ATTRIBUTES",
    "            change = VisibilityChange.ATTRIBUTES",
    "tests/api/test_visibility.py",
)
fault(
    "the status of a closed run is stale",
    "storage/sqlite/writes.sql",
    "       search_attributes = ?7, status = ?8, close_time",
    "       search_attributes = ?7, close_time",
)
fault(
    "the order of lists is stale",
    "storage/sqlite/writes.sql",
    "close_time = ?9, close_order = coalesce(?9, 253402300799999999)",
    "close_time = ?9",
)
fault(
    "a page begins with the last row of the page before",
    "storage/sqlite/executions.sql",
    "and e.run_no <= ?);",
    "and e.run_no < ?);",
)
fault(
    "a page leaves out rows of the same moment",
    "storage/sqlite/executions.sql",
    "(e.close_order, e.start_time) <= (?, ?) and",
    "(e.close_order, e.start_time) < (?, ?) and",
)
fault(
    "any bytes are a page token",
    "storage/sqlite/visibility.py",
    "    if version != _TOKEN_VERSION:",
    "    if version < 0:",
)
fault(
    "values of search attributes that were replaced are still found",
    "storage/sqlite/batch.py",
    "                cleared.append((write.run_no,))",
    "                pass",
)
fault(
    "an unset attribute is not null",
    "storage/sqlite/filters.py",
    '    return (f"({UNSET})", [attribute]) if column is None',
    '    return (f"(not {UNSET})", [attribute]) if column is None',
)
fault(
    "an open workflow has the length of a closed one",
    "storage/sqlite/filters.py",
    '    "HistoryLength": "iif(e.close_time is null, null, e.history_length)",',
    '    "HistoryLength": "e.history_length",',
)
fault(
    "NOT takes in what is unset",
    "storage/sqlite/filters.py",
    '            return f"(not {sql})", parameters\n        case IsNull(attribute):',
    '            return f"(not coalesce({sql}, 0))", parameters\n        case IsNull(attribute):',
)
fault(
    "a list sees the system's own runs",
    "storage/sqlite/filters.py",
    '("e.division is null", [])',
    '("true", [])',
)
fault(
    "what starts with a text ends too early",
    "storage/sqlite/filters.py",
    "    following = ord(stem[-1]) + 1\n",
    "    following = ord(stem[-1])\n",
)
fault(
    "of alternatives only the first is looked up",
    "storage/sqlite/seeks.py",
    '        sql = " union all ".join(seek.sql for seek in found)\n'
    "        return Seek(sql, [value for seek in found for value in seek.parameters], hits)",
    "        return found[0]",
)
fault(
    "closed runs alone are walked for a filter on open ones",
    "storage/sqlite/seeks.py",
    '            case Compare("ExecutionStatus", "=", status) if status in OPEN:\n'
    '                said = f" and e.close_order = {FOREVER}"',
    '            case Compare("ExecutionStatus", "=", status) if status in OPEN:\n'
    '                said = f" and e.close_order < {FOREVER}"',
)
fault(
    "a root is found by its children alone",
    "storage/sqlite/seeks.py",
    '                return f"{roots} union all {own}", [self._namespace_id, *wanted] * 2',
    "                return roots, [self._namespace_id, *wanted]",
)
fault(
    "counts by status are stale",
    "storage/sqlite/migrations/001_initial.sql",
    "create trigger count_moved after update of status on executions when old.status <> new.status begin\n"
    "    update execution_counts set total = total - 1\n",
    "create trigger count_moved after update of status on executions when old.status <> new.status begin\n"
    "    update execution_counts set total = total - 0\n",
)
