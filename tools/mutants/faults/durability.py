"""From decision to disk: the barrier, refused batches, messages between executions."""

from __future__ import annotations

from tools.mutants.fault import Area, Edit

AREA = Area(
    "durability",
    "tests/runtime/test_refused_batches.py",
    "tests/runtime/test_barrier.py",
    "tests/runtime/test_defects.py",
    "tests/runtime/test_updates.py",
)
fault = AREA.fault

fault(
    "a reply leaves before the commit that makes it true",
    "runtime/committer.py",
    "        if batch_no <= self.durable_no:\n            follower.answer()",
    "        if batch_no <= self._open.batch.number:\n            follower.answer()",
)
fault(
    "a deduplicated reply leaves without a barrier",
    "runtime/decisions.py",
    "        self._committer.follow(item, loaded.batch_no)\n        if self._effects and",
    "        self._committer.follow(item, loaded.batch_no if shared.touched else 0)\n        if self._effects and",
)
AREA.fault_in_several_places(
    "buffered events are flushed at the commit instead of in their turn",
    (
        Edit(
            "engine/turn.py",
            "            if task is None or not task.started_event_id:\n                self.flush()\n            elif",
            "            if",
        ),
        Edit(
            "runtime/run_writes.py",
            "        batch = sealed.batch\n        changes = run.changes\n",
            "        from perdure.engine.execution import WORKFLOW\n\n"
            "        if loaded.key[1] == WORKFLOW and run.buffered and run.workflow_task is None:\n"
            "            from perdure.engine.turn import Shared, Turn\n\n"
            "            Turn(Shared(loaded.execution, 0, None, self._limits, [], [], {}), run).flush()\n"
            "        batch = sealed.batch\n        changes = run.changes\n",
        ),
    ),
    "tests/engine/test_pausing.py",
    "tests/engine/test_workflow_options.py",
    "tests/engine/test_workflow_tasks.py",
)
fault(
    "what a decision wanted is forgotten when what it needs cannot be read",
    "runtime/decisions.py",
    "                    self.cannot_carry_out((loaded or effect).key, failure)\n",
    "                    pass\n",
    "tests/runtime/test_failed_reads.py",
)
fault(
    "what follows a timer that could not be written is tried again beside it",
    "runtime/waking.py",
    "            self._follows.lost = True\n",
    "",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "a timer that could not be written is tried again at once",
    "runtime/runtime.py",
    "                due = max(due, self.time.now() + SECOND)\n",
    "                pass\n",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "who waits for all to be durable is not told when it is given up",
    "runtime/committer.py",
    "            self._on_room()\n            self._rest()\n",
    "            self._on_room()\n",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "who waits for all to be durable is not told when a run has no stored form",
    "runtime/committer.py",
    "        self._on_room()\n        self._rest()\n\n    def _done",
    "        self._on_room()\n\n    def _done",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "the outbox row of a delivered message is not deleted",
    "runtime/mail.py",
    "            committer.message_delivered(self.message_no)\n",
    "",
    "tests/runtime/test_mail.py",
)
fault(
    "what a message brought about is answered before the deletion of its row is durable",
    "runtime/mail.py",
    "                committer.depend(loaded)  # what it brought about elsewhere stands and falls with that batch",
    "                pass",
    "tests/runtime/test_mail.py",
)
fault(
    "messages that a stopped server left in the outbox are not delivered",
    "runtime/mail.py",
    "        self._message_no = message_no\n        self.on_way: set[int] = set()",
    "        self._message_no = message_no\n        self.start = lambda: None\n        self.on_way: set[int] = set()",
    "tests/runtime/test_mail.py",
)
fault(
    "a message whose receiver must be loaded gets no row",
    "runtime/mail.py",
    "        if not message.SLOW and not late and not runtime.committer.full and runtime.ready(item):",
    "        if not message.SLOW and not late and not runtime.committer.full:",
    "tests/runtime/test_mail.py",
)
fault(
    "a message overtakes one whose receiver could not be read",
    "runtime/mail.py",
    "        late = item.key in self._waiting\n",
    "        late = False\n",
    "tests/runtime/test_mail.py",
)
fault(
    "a message overtakes one whose delivery was refused",
    "runtime/committer.py",
    "        for follower in followers:\n            self._tell(follower.undone)\n",
    "",
    "tests/runtime/test_mail.py",
)
fault(
    "a message that is with its receiver does not wait for an earlier one that was refused",
    "runtime/mail.py",
    "        if self.message_no and (self.lost or self.runtime.mail.first(self.key) is not self):",
    "        if self.message_no and self.lost:",
    "tests/runtime/test_mail.py",
)
fault(
    "a message that met a defect holds up all that come after it",
    "runtime/mail.py",
    "        heap[:] = [waiting for waiting in heap if waiting[1] is not delivery]\n",
    "",
    "tests/runtime/test_mail.py",
)
fault(
    "a message is delivered although its sender's turn was refused",
    "runtime/mail.py",
    "        self._delivery.lost = True\n",
    "",
    "tests/runtime/test_refused_batches.py",
)
fault(
    "the inputs of a refused batch are not decided again",
    "runtime/inputs.py",
    "        if self.attempts >= ATTEMPTS:\n            self.give_up(Unavailable(",
    "        if self.attempts:\n            self.give_up(Unavailable(",
)
fault(
    "the state of a refused batch stays in the cache",
    "runtime/committer.py",
    "            loaded.dead = True\n            self._executions.forget(loaded)\n        for lost in",
    "            pass\n        for lost in",
)
fault(
    "what gathered behind a refused batch is kept",
    "runtime/committer.py",
    "        followers = sealed.followers + later.followers\n",
    "        followers = sealed.followers\n",
)
fault(
    "a commit of unknown outcome is taken for lost",
    "runtime/committer.py",
    "            self._done(None if landed else Refused(",
    "            self._done(Refused(",
    "tests/runtime/test_unknown_commits.py",
)
fault(
    "a commit of unknown outcome is taken for landed",
    "runtime/committer.py",
    "            self._done(None if landed else Refused(",
    "            self._done(None if True else Refused(",
    "tests/runtime/test_unknown_commits.py",
)
fault(
    "a decision that failed half-way is written",
    "runtime/decisions.py",
    '        self._give_up_open(loaded, "a decision failed")\n',
    "        self._committer.add_run(loaded, next(iter(loaded.execution.runs.values())))\n        self._poisoned = False\n",
    "tests/runtime/test_defects.py",
)
fault(
    "executions leave the cache with decisions that are not written",
    "runtime/executions.py",
    "        if loaded.batch_no > durable_no or not loaded.idle:",
    "        if not loaded.idle:",
    "tests/runtime/test_barrier.py",
    "tests/runtime/test_timers_and_cache.py",
)
fault(
    "a history shows events that are not durable",
    "runtime/histories.py",
    "            last = min(last, tail.durable_event_id)\n",
    "",
    "tests/runtime/test_barrier.py",
    "tests/api/test_history_waiting.py",
)
fault(
    "a caller who waits for events is not woken",
    "runtime/committer.py",
    "                    watchers, tail.watchers = tail.watchers, []\n                    for wake in watchers:\n"
    "                        self._tell(wake)\n        followers",
    "                    tail.watchers = []\n        followers",
    "tests/runtime/test_barrier.py",
    "tests/api/test_history_waiting.py",
)
fault(
    "a caller who waits for events is not woken when a batch is refused",
    "runtime/committer.py",
    "                watchers, tail.watchers = tail.watchers, []\n                for wake in watchers:\n"
    "                    self._tell(wake)\n            if",
    "                pass\n            if",
    "tests/runtime/test_barrier.py",
    "tests/runtime/test_refused_batches.py",
    "tests/runtime/test_standalone.py",
)
fault(
    "a caller who left is still waited for",
    "runtime/updates.py",
    "        if loaded is not None:\n            self._loaded = None\n            self.runtime.updates.leave(loaded, self)\n\n"
    "    def _end",
    "\n    def _end",
    "tests/runtime/test_updates.py",
)
fault(
    "the answers of a batch stop at the first that fails",
    "runtime/committer.py",
    "            try:  # as `_tell` does, without a call for each answer\n                follower.answer()\n"
    "            except Exception as error:",
    "            try:\n                follower.answer()\n            except ZeroDivisionError as error:",
    "tests/runtime/test_defects.py",
)
fault(
    "those who hear that a batch was refused stop at the first that fails",
    "runtime/committer.py",
    '        except Exception as error:\n            self._log.error("an answer failed", exc_info=error)',
    "        except ZeroDivisionError:\n            raise",
    "tests/runtime/test_defects.py",
)
fault(
    "a log that an unclean end left behind is believed as it is",
    "storage/sqlite/store.py",
    "    write_again(connection, vfs)\n",
    "",
    "tests/power/test_failed_syncs.py",
)
fault(
    "a store whose checkpoint failed takes it up again when it is closed",
    "storage/sqlite/store.py",
    "            sound = not self._writer.failed\n",
    "",
    "tests/power/test_failed_syncs.py",
)
fault(
    "commits are synced when the log is copied, not before they are answered",
    "storage/sqlite/connection.py",
    'pragma("synchronous", "full")',
    'pragma("synchronous", "normal")',
    "tests/power/test_power_loss.py",
)
fault(
    "callers whose batch met a broken disk are left waiting",
    "runtime/committer.py",
    "        for lost in (sealed, self._open):\n            followers, lost.followers",
    "        for lost in ():\n            followers, lost.followers",
    "tests/power/test_disk_faults.py",
)
