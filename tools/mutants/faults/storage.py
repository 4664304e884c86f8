"""SQLite: what is written together, and what is read back."""

from __future__ import annotations

from tools.mutants.fault import Area, Edit

AREA = Area("storage", "tests/storage/test_contract.py", "tests/storage/test_sqlite_file.py")
fault = AREA.fault

fault(
    "the version of a run is not checked",
    "storage/sqlite/writes.sql",
    "where run_no = ?1 and version = ?2 - 1;",
    "where run_no = ?1;",
)
fault(
    "a missed version does not refuse the batch",
    "storage/sqlite/batch.py",
    "            if connection.total_changes() - before != len(updates):",
    "            if connection.total_changes() - before > len(updates):",
)
fault(
    "the history is in another transaction than the run",
    "storage/sqlite/batch.py",
    "        for statement, rows in transaction.rest:\n",
    '        execute("commit")\n        execute("begin immediate")\n        for statement, rows in transaction.rest:\n',
)
fault(
    "a batch that fails is not rolled back",
    "storage/sqlite/batch.py",
    '    if connection.in_transaction:\n        connection.execute("rollback")',
    '    if connection.in_transaction:\n        connection.execute("commit")',
)
fault(
    "commits are not synchronised",
    "storage/sqlite/connection.py",
    '    connection.pragma("synchronous", "full")',
    '    connection.pragma("synchronous", "normal")',
    "tests/power/test_power_loss.py",
)
fault(
    "the wake-up of a run that has nothing due stays",
    "storage/sqlite/writes.sql",
    "update runs set version = ?2, core = ?3, wake_at = ?4 where",
    "update runs set version = ?2, core = ?3, wake_at = coalesce(?4, wake_at) where",
)
fault(
    "wakes at the very end of a window are left out",
    "storage/sqlite/reads.sql",
    " where wake_at > ?1 and wake_at <= ?3\n",
    " where wake_at > ?1 and wake_at < ?3\n",
)
fault(
    "a page of tasks begins with the last of the page before",
    "storage/sqlite/reads.sql",
    "(priority, fairness_pass, task_no) > (?, ?, ?)",
    "(priority, fairness_pass, task_no) >= (?, ?, ?)",
)
fault(
    "tasks are read in the order of their numbers alone",
    "storage/sqlite/reads.sql",
    " order by priority, fairness_pass, task_no\n limit ?;",
    " order by task_no\n limit ?;",
)
fault(
    "the row of a task that is done stays",
    "storage/sqlite/batch.py",
    '        ("delete_task", [(task_no,) for task_no in batch.done_tasks]),\n',
    "",
)
fault(
    "the row of a message that was delivered stays",
    "storage/sqlite/batch.py",
    '        ("delete_message", [(message_no,) for message_no in batch.delivered]),\n',
    "",
)
fault(
    "an item that went stays",
    "storage/sqlite/batch.py",
    "            deleted.append((run.run_no, item.sort, item.key))",
    "            pass",
)
fault(
    "the pointer of an execution keeps its status",
    "storage/sqlite/writes.sql",
    "   set run_id = excluded.run_id, run_no = excluded.run_no, status = excluded.status,",
    "   set run_id = excluded.run_id, run_no = excluded.run_no,",
)
fault(
    "numbers of tasks are given again after a restart",
    "storage/sqlite/writes.sql",
    "task_no = max(task_no, ?3)",
    "task_no = ?3",
)
fault(
    "a run that was reset inherits beyond its point",
    "storage/sqlite/writes.sql",
    " where run_no = ?2 and last_event_id <= ?3 and first_event_id <= ?3 order by first_event_id;",
    " where run_no = ?2 and first_event_id <= ?3 + 1 order by first_event_id;",
)
fault(
    "deleting an old run takes the pointer to the latest along",
    "storage/sqlite/writes.sql",
    "delete from current where namespace_id = ? and kind = ? and execution_id = ? and run_id = ?;",
    "delete from current where namespace_id = ? and kind = ? and execution_id = ? and run_id <> '' || ?;",
)
fault(
    "what a deleted run leaves behind is never swept",
    "storage/sqlite/batch.py",
    '            ("forget_run", [(d.run_no,) for d in deletes]),\n',
    "",
)
fault(
    "a batch that landed is said to be lost",
    "storage/sqlite/store.py",
    "        done(marks if isinstance(marks, StoreFailed) else marks[0] >= batch_no)",
    "        done(marks if isinstance(marks, StoreFailed) else marks[0] > batch_no)",
)
fault(
    "a history is read from the batch after the one asked for",
    "storage/sqlite/reads.sql",
    "(select max(first_event_id) from history where run_no = ?1 and first_event_id <= ?2), 0)",
    "(select max(first_event_id) from history where run_no = ?1 and first_event_id <= ?2), 0) + 1",
)
fault(
    "a second server opens the same file",
    "storage/sqlite/store.py",
    "        self._lock.take()\n",
    "",
)
AREA.fault_in_several_places(
    "retention is not kept",
    (
        Edit(
            "runtime/removal.py",
            "        keys = runtime.store.closed_runs(namespace.id, division, now - namespace.retention, RUNS)",
            "        keys = runtime.store.closed_runs(namespace.id, division, now, RUNS)",
        ),
        Edit(
            "runtime/removal.py",
            "            self._forget(key, closed_before=now - namespace.retention)",
            "            self._forget(key, closed_before=now)",
        ),
    ),
    "tests/runtime/test_removal.py",
)
fault(
    "a run is removed at half its retention",
    "storage/sqlite/reads.sql",
    "and e.close_order <= ?3\n",
    "and e.close_order <= ?3 + 43200000000\n",
    "tests/runtime/test_removal.py",
    "tests/storage/test_contract.py",
)
fault(
    "a deleted run is still found",
    "storage/sqlite/batch.py",
    '            ("delete_run", [(d.run_no,) for d in deletes]),\n',
    "",
)
fault(
    "an item of a large run that changed is not written",
    "runtime/run_writes.py",
    "            keys = changes.items if was_spilled else set(kind.all_items(run))",
    "            keys = set() if was_spilled else set(kind.all_items(run))",
    "tests/runtime/test_kinds.py",
    "tests/runtime/test_timers_and_cache.py",
)
