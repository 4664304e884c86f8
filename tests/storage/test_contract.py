"""What every store promises, on each of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from perdure.errors import InvalidArgument
from perdure.storage.store import ItemWrite, NamespaceWrite, QueueWrite, Refused, RunDelete, Store, VisibilityChange
from perdure.visibility.parser import parse
from perdure.visibility.vocabulary import ACTIVITIES, SCHEDULES, WORKFLOWS, Vocabulary
from tests.storage.rows import (
    NAMESPACE,
    NOON,
    WORKFLOW,
    answer,
    batch,
    current,
    events,
    execution,
    loaded,
    message,
    outcome,
    outcomes,
    run,
    run_id,
    swept,
    task,
    written,
)

EVERYTHING = parse("", {})


async def test_a_run_is_found_by_its_pointer_and_by_its_id(store: Store) -> None:
    await written(store, runs=[run(1, request_ids=[("start", 1, 1)])], currents=[current(1)])

    by_pointer, by_id = await loaded(store, 1), await loaded(store, 1, run_id(1))

    assert by_pointer == by_id
    assert by_pointer.current == current(1)
    assert by_pointer.run is not None
    assert (by_pointer.run.version, by_pointer.run.core) == (1, b"core 1")
    assert by_pointer.run.request_ids == [("start", 1, 1)]


async def test_an_unknown_execution_has_neither_pointer_nor_run(store: Store) -> None:
    stored = await loaded(store, 1)

    assert stored.current is None
    assert stored.run is None


async def test_an_old_run_is_loaded_beside_the_pointer_to_the_latest(store: Store) -> None:
    later = run(2, execution_id="order-1")
    await written(store, runs=[run(1), later], currents=[current(2, execution_id="order-1")])

    stored = await loaded(store, 1, run_id(1))

    assert stored.current is not None
    assert stored.current.run_no == 2
    assert stored.run is not None
    assert stored.run.run_no == 1


async def test_the_pointer_moves_to_the_latest_run_and_tells_its_status(store: Store) -> None:
    await written(store, runs=[run(1)], currents=[current(1)])

    await written(store, runs=[run(1, version=2)], currents=[current(1, status=2)])
    assert (await loaded(store, 1)).current == current(1, status=2)

    latest = current(2, execution_id="order-1", create_request_id="another", start_time=NOON + 9)
    await written(store, runs=[run(2, execution_id="order-1")], currents=[latest])
    assert (await loaded(store, 1)).current == latest


async def test_a_run_moves_one_version_a_commit(store: Store) -> None:
    await written(store, runs=[run(1)], currents=[current(1)])

    await written(store, runs=[run(1, version=2)])

    stored = (await loaded(store, 1)).run
    assert stored is not None
    assert (stored.version, stored.core) == (2, b"core 2")


async def test_a_missed_version_refuses_the_whole_batch_and_names_the_run(store: Store) -> None:
    await written(store, runs=[run(1), run(2)], currents=[current(1), current(2)])

    refused = await outcome(
        store, batch(runs=[run(1, version=2), run(2, version=5)], tasks=[task(1)], meta={"skew": b"1"})
    )

    assert isinstance(refused, Refused)
    assert list(refused.run_nos) == [2]
    untouched = (await loaded(store, 1)).run
    assert untouched is not None
    assert untouched.version == 1
    assert await store.task_counts(NAMESPACE, "orders", 1) == []
    assert store.load_meta() == {}


async def test_a_run_that_exists_cannot_start_again(store: Store) -> None:
    await written(store, runs=[run(1)])

    refused = await outcome(store, batch(runs=[run(2), run(1)]))

    assert isinstance(refused, Refused)
    assert list(refused.run_nos) == [1]
    assert (await loaded(store, 2, run_id(2))).run is None


async def test_batches_behind_a_refused_one_are_written_in_order(store: Store) -> None:
    results = await outcomes(
        store,
        batch(runs=[run(1)], currents=[current(1)]),
        batch(runs=[run(1, version=9)]),
        batch(runs=[run(1, version=2)]),
        batch(runs=[run(1, version=3)]),
    )

    assert [type(result) for result in results] == [type(None), Refused, type(None), type(None)]
    stored = (await loaded(store, 1)).run
    assert stored is not None
    assert stored.version == 3


async def test_the_same_events_are_never_written_twice(store: Store) -> None:
    await written(store, runs=[run(1, history=events(1, 3))])

    refused = await outcome(store, batch(runs=[run(1, version=2, history=events(1, 3))]))

    assert isinstance(refused, Refused)
    assert await answer(store.read_history, 1, 1, 99, 10_000) == [events(1, 3)]


async def test_items_come_and_go_one_by_one(store: Store) -> None:
    await written(
        store,
        runs=[run(1, items=[ItemWrite(1, "a", b"1"), ItemWrite(1, "b", b"2"), ItemWrite(2, "a", b"3")])],
        currents=[current(1)],
    )

    await written(store, runs=[run(1, version=2, items=[ItemWrite(1, "a", None), ItemWrite(1, "b", b"4")])])

    stored = (await loaded(store, 1)).run
    assert stored is not None
    assert stored.items == [(1, "b", b"4"), (2, "a", b"3")]


@pytest.fixture
async def history(store: Store) -> Store:
    await written(store, runs=[run(1, history=events(1, 3)), run(2, history=events(1, 9))])
    await written(store, runs=[run(1, version=2, history=events(4, 4))])
    await written(store, runs=[run(1, version=3, history=events(5, 8))])
    return store


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(1, 99, [1, 4, 5]), (2, 4, [1, 4]), (4, 4, [4]), (5, 6, [5]), (9, 99, []), (1, 1, [1])],
)
async def test_history_comes_in_whole_batches(history: Store, first: int, last: int, expected: list[int]) -> None:
    batches = await answer(history.read_history, 1, first, last, 10_000)

    assert [each.first_event_id for each in batches] == expected


async def test_runs_that_closed_long_ago_are_found_oldest_first(store: Store) -> None:
    closed = [execution(no, status=2, close_time=NOON + 100 - no) for no in (1, 2, 3)]
    batch_job = execution(4, status=2, close_time=NOON, division="TemporalBatcher")
    await written(store, runs=[run(no) for no in range(1, 6)], visibility=[*closed, batch_job, execution(5)])

    found = store.closed_runs(NAMESPACE, "", NOON + 98, 10)

    assert [key.run_id for key in found] == [run_id(3), run_id(2)]
    assert (found[0].namespace_id, found[0].kind, found[0].execution_id) == (NAMESPACE, WORKFLOW, "order-3")
    assert [key.run_id for key in store.closed_runs(NAMESPACE, "", NOON + 100, 1)] == [run_id(3)]
    assert [key.run_id for key in store.closed_runs(NAMESPACE, "TemporalBatcher", NOON, 10)] == [run_id(4)]
    assert store.closed_runs("another", "", NOON + 100, 10) == []


async def test_all_runs_of_a_namespace_are_found(store: Store) -> None:
    await written(store, runs=[run(1), run(2)], visibility=[execution(1), execution(2, status=2, close_time=NOON)])

    assert {key.run_id for key in store.runs_of(NAMESPACE, 10)} == {run_id(1), run_id(2)}
    assert len(store.runs_of(NAMESPACE, 1)) == 1
    assert store.runs_of("another", 10) == []


async def test_a_run_inherits_the_batches_of_another_one_up_to_an_event(history: Store) -> None:
    await written(history, runs=[replace(run(3, history=events(5, 6)), inherits=(1, 4))])

    batches = await answer(history.read_history, 3, 1, 99, 10_000)

    assert batches == [events(1, 3), events(4, 4), events(5, 6)]
    assert len(await answer(history.read_history, 1, 1, 99, 10_000)) == 3


async def test_a_page_of_history_holds_at_least_one_batch(history: Store) -> None:
    assert [b.first_event_id for b in await answer(history.read_history, 1, 1, 99, 1)] == [1]
    assert [b.first_event_id for b in await answer(history.read_history, 1, 1, 99, 30)] == [1, 4]


@pytest.mark.parametrize(
    ("last", "events_wanted", "expected"), [(8, 1, [5]), (8, 5, [5, 4]), (8, 99, [5, 4, 1]), (4, 1, [4]), (2, 9, [1])]
)
async def test_history_reads_backwards(history: Store, last: int, events_wanted: int, expected: list[int]) -> None:
    batches = await answer(history.read_history_reverse, 1, last, events_wanted)

    assert [each.first_event_id for each in batches] == expected


async def test_tasks_wait_in_order_of_priority_then_number(store: Store) -> None:
    await written(
        store,
        tasks=[task(1), task(2, priority=1), task(3), task(4, queue="other"), task(5, kind=2)],
    )

    first = store.load_tasks(NAMESPACE, "orders", 1, (0, 0, 0), 2)
    rest = store.load_tasks(NAMESPACE, "orders", 1, (first[-1].priority, 0, first[-1].task_no), 9)

    assert [each.task_no for each in first + rest] == [2, 1, 3]
    assert first[1] == task(1)
    assert await store.task_counts(NAMESPACE, "orders", 1) == [(1, 1, NOON), (3, 2, NOON)]


async def test_tasks_of_one_priority_wait_in_order_of_their_pass(store: Store) -> None:
    await written(
        store,
        tasks=[
            task(1, fairness_pass=10),
            task(2, fairness_pass=20),
            task(3, fairness_key="b", fairness_pass=10, created=NOON - 5),
            task(4, priority=5, fairness_pass=0),
            task(5, fairness_key="b", fairness_pass=15, fairness_weight=2.5),
        ],
    )

    first = store.load_tasks(NAMESPACE, "orders", 1, (0, 0, 0), 2)
    rest = store.load_tasks(NAMESPACE, "orders", 1, (3, 10, 3), 9)

    assert [each.task_no for each in first + rest] == [1, 3, 5, 2, 4]
    assert rest[0].fairness_weight == 2.5
    assert await store.task_counts(NAMESPACE, "orders", 1) == [(3, 4, NOON - 5), (5, 1, NOON)]


async def test_the_passes_of_a_fairness_key_are_found_without_its_tasks(store: Store) -> None:
    await written(
        store,
        tasks=[
            task(1, fairness_pass=10),
            task(2, fairness_pass=30),
            task(3, fairness_key="b", fairness_pass=20),
            task(4, fairness_key="b", priority=5, fairness_pass=90),
        ],
    )

    assert store.task_passes(NAMESPACE, "orders", 1, 3, "b") == (10, 20)
    assert [each.task_no for each in store.load_tasks_of_key(NAMESPACE, "orders", 1, 3, "b", (0, 0), 9)] == [3]
    assert store.load_tasks_of_key(NAMESPACE, "orders", 1, 3, "b", (20, 3), 9) == []
    assert store.task_passes(NAMESPACE, "orders", 1, 3, "c") == (10, -1)
    assert store.task_passes(NAMESPACE, "orders", 1, 3, "") == (10, 30)
    assert store.task_passes(NAMESPACE, "orders", 1, 1, "b") is None


async def test_settings_of_queues_are_kept_until_their_namespace_goes(store: Store) -> None:
    await written(store, queues=[QueueWrite(NAMESPACE, "orders", 2, b"old"), QueueWrite("other", "orders", 2, b"x")])
    await written(store, queues=[QueueWrite(NAMESPACE, "orders", 2, b"new")])
    assert sorted(each.config for each in store.load_queues()) == [b"new", b"x"]

    await written(store, namespaces=[NamespaceWrite("other", "other", b"", deleted=True)])

    assert store.load_queues() == [QueueWrite(NAMESPACE, "orders", 2, b"new")]


async def test_a_task_that_is_done_is_gone(store: Store) -> None:
    await written(store, tasks=[task(1), task(2)])

    await written(store, tasks=[task(3)], done_tasks=[1, 3])

    assert [each.task_no for each in store.load_tasks(NAMESPACE, "orders", 1, (0, 0, 0), 9)] == [2]


async def test_messages_keep_their_order_until_delivered(store: Store) -> None:
    await written(store, outbox=[message(1), message(2), message(3)])
    await written(store, delivered=[2])

    assert store.load_outbox(0, 9) == [message(1), message(3)]
    assert store.load_outbox(1, 9) == [message(3)]


async def test_due_runs_come_earliest_first(store: Store) -> None:
    await written(store, runs=[run(1, wake_at=30), run(2, wake_at=10), run(3), run(4, wake_at=20)])
    await written(store, runs=[run(1, version=2, wake_at=15), run(4, version=2, wake_at=None)])

    assert [due.execution_id for due in store.due_runs((0, 0), 20, 9)] == ["order-2", "order-1"]
    assert [due.execution_id for due in store.due_runs((10, 2), 20, 9)] == ["order-1"]
    assert store.due_runs((0, 0), 9, 9) == []


async def test_runs_due_at_one_instant_come_page_by_page(store: Store) -> None:
    await written(store, runs=[run(number, wake_at=30 if number > 2 else 20) for number in range(1, 8)])

    pages = []
    after = (0, 0)
    while page := store.due_runs(after, 30, 3):
        pages.append([(due.wake_at, due.run_no) for due in page])
        after = pages[-1][-1]

    assert pages == [[(20, 1), (20, 2), (30, 3)], [(30, 4), (30, 5), (30, 6)], [(30, 7)]]


async def test_namespaces_are_put_and_deleted(store: Store) -> None:
    await written(store, namespaces=[NamespaceWrite("1", "b", b"x"), NamespaceWrite("2", "a", b"y")])
    await written(store, namespaces=[NamespaceWrite("1", "b", b"z"), NamespaceWrite("2", "a", b"", deleted=True)])

    assert store.load_namespaces() == [NamespaceWrite("1", "b", b"z")]


async def test_the_highest_numbers_outlive_their_rows(store: Store) -> None:
    assert store.high_water() == (0, 0, 0, 0)
    await written(store, runs=[run(6)])
    last = batch(runs=[run(7)], tasks=[task(8)], outbox=[message(9)])
    assert await outcome(store, last) is None
    await written(store, done_tasks=[8], delivered=[9], run_deletes=[RunDelete(NAMESPACE, WORKFLOW, "x", run_id(7), 7)])

    assert store.high_water() == (last.number + 1, 7, 8, 9)


async def test_a_batch_can_be_asked_for_by_its_number(store: Store) -> None:
    last = batch(runs=[run(1)])
    assert await outcome(store, last) is None

    assert [await answer(store.landed, number) for number in (last.number - 1, last.number)] == [True, True]
    assert not await answer(store.landed, last.number + 1)


# ---- deleting


async def test_a_deleted_run_is_unknown_at_once_and_its_rows_go_piece_by_piece(store: Store) -> None:
    values = [("CustomKeyword", 2, "x")]
    await written(
        store,
        runs=[run(1, wake_at=5, history=events(1, 3), items=[ItemWrite(1, "a", b"1")], request_ids=[("r", 1, 1)])],
        currents=[current(1)],
        visibility=[execution(1, values=values)],
    )
    await written(store, runs=[run(1, version=2, history=events(4, 5))])

    await written(store, run_deletes=[RunDelete(NAMESPACE, WORKFLOW, "order-1", run_id(1), 1)])

    assert (await loaded(store, 1)).current is None
    assert (await loaded(store, 1, run_id(1))).run is None
    assert store.due_runs((0, 0), 99, 9) == []
    assert await store.list_executions(NAMESPACE, EVERYTHING, 9, b"") == ([], b"")
    assert await store.count_executions(NAMESPACE, EVERYTHING) == [(None, 0)]
    # Two history rows, an item, a request ID, and the tombstone.
    assert [await swept(store, 2), await swept(store, 2), await swept(store, 2), await swept(store, 2)] == [2, 2, 1, 0]
    assert await answer(store.read_history, 1, 1, 99, 10_000) == []


async def test_deleting_an_old_run_keeps_the_pointer_to_the_latest(store: Store) -> None:
    await written(store, runs=[run(1), run(2, execution_id="order-1")], currents=[current(2, execution_id="order-1")])

    await written(store, run_deletes=[RunDelete(NAMESPACE, WORKFLOW, "order-1", run_id(1), 1)])

    assert (await loaded(store, 1)).current is not None


# ---- visibility


async def test_lists_show_open_runs_first_then_the_last_closed(store: Store) -> None:
    closed = [execution(n, status=2, close_time=NOON + 100 - n) for n in (1, 2)]
    await written(store, visibility=[*closed, execution(3), execution(4)])

    rows, token = await store.list_executions(NAMESPACE, EVERYTHING, 9, b"")

    assert rows == [execution(4), execution(3), *closed]
    assert token == b""


async def test_pages_follow_each_other_without_gap_or_repeat(store: Store) -> None:
    # Same times, so that only the run ID tells the rows apart.
    rows = [execution(n, start_time=NOON, close_time=NOON if n > 3 else None) for n in range(1, 8)]
    await written(store, visibility=rows)

    seen, token, sizes = [], b"", []
    while True:
        page, token = await store.list_executions(NAMESPACE, EVERYTHING, 3, token)
        seen += page
        sizes.append(len(page))
        if not token:
            break

    assert seen == rows
    assert sizes == [3, 3, 1]


@pytest.mark.parametrize(
    "token",
    [b"x", b"garbage that is long enough", b"\x01" + bytes(16), b"\x01" + bytes(16) + b"\xff", b"\x02" + bytes(24)],
)
async def test_a_foreign_page_token_is_refused(store: Store, token: bytes) -> None:
    with pytest.raises(InvalidArgument):
        await store.list_executions(NAMESPACE, EVERYTHING, 3, token)


async def test_a_closed_run_replaces_its_row_values_and_counts(store: Store) -> None:
    custom = {"CustomKeyword": 2}
    await written(store, visibility=[execution(1, values=[("CustomKeyword", 2, "old")]), execution(2)])

    closed = execution(
        1,
        change=VisibilityChange.STATUS,
        status=2,
        close_time=NOON + 50,
        history_length=5,
        values=[("CustomKeyword", 2, "new")],
    )
    await written(store, visibility=[closed])

    rows, _ = await store.list_executions(NAMESPACE, parse("CustomKeyword = 'new'", custom), 9, b"")
    assert rows == [replace(closed, change=VisibilityChange.STARTED, values=())]
    assert await store.count_executions(NAMESPACE, parse("CustomKeyword = 'old'", custom)) == [(None, 0)]
    assert await store.count_executions(NAMESPACE, EVERYTHING, "ExecutionStatus") == [(1, 1), (2, 1)]
    for status in ("Completed", "Running"):
        assert await store.count_executions(NAMESPACE, parse(f"ExecutionStatus = '{status}'", {})) == [(None, 1)]
    assert await store.count_executions(NAMESPACE, parse("ExecutionStatus = 'Failed'", {})) == [(None, 0)]
    assert await store.count_executions(
        NAMESPACE, parse("WorkflowType = 'Order' GROUP BY ExecutionStatus", {}, counting=True)
    ) == [(1, 1), (2, 1)]


async def test_changed_attributes_leave_place_and_status_alone(store: Store) -> None:
    custom = {"CustomKeyword": 2}
    await written(store, visibility=[execution(1), execution(2)])
    changed = execution(
        1, change=VisibilityChange.ATTRIBUTES, status=9, memo=b"new", values=[("CustomKeyword", 2, "new")]
    )

    await written(store, visibility=[changed])

    rows, _ = await store.list_executions(NAMESPACE, EVERYTHING, 9, b"")
    assert rows == [execution(2), execution(1, memo=b"new")]
    assert await store.count_executions(NAMESPACE, parse("CustomKeyword = 'new'", custom)) == [(None, 1)]


async def test_a_row_can_move_to_another_queue(store: Store) -> None:
    await written(store, visibility=[execution(1)])

    moved = execution(1, change=VisibilityChange.QUEUE, task_queue="elsewhere", status=9, memo=b"new", values=None)
    await written(store, visibility=[moved])

    rows, _ = await store.list_executions(NAMESPACE, parse("TaskQueue = 'elsewhere'", {}), 9, b"")
    assert rows == [execution(1, task_queue="elsewhere", status=9, memo=b"new")]


async def test_a_value_that_was_replaced_or_removed_is_found_no_more(store: Store) -> None:
    custom = {"CustomKeyword": 2, "CustomInt": 3}
    before = [("CustomKeyword", 2, "old"), ("CustomInt", 3, 7)]
    await written(store, visibility=[execution(1, values=before)])

    after = [("CustomKeyword", 2, "new")]
    await written(store, visibility=[execution(1, change=VisibilityChange.ATTRIBUTES, values=after)])

    async def found(text: str) -> int:
        return len((await store.list_executions(NAMESPACE, parse(text, custom), 9, b""))[0])

    assert [await found(f"CustomKeyword = '{value}'") for value in ("old", "new")] == [0, 1]
    assert [await found("CustomInt = 7"), await found("CustomInt IS NULL")] == [0, 1]


async def test_values_that_did_not_change_are_kept(store: Store) -> None:
    values = [("CustomKeyword", 2, "x")]
    await written(store, visibility=[execution(1, values=values)])

    closed = execution(1, change=VisibilityChange.STATUS, status=3, close_time=NOON + 50, values=None)
    await written(store, visibility=[closed])

    query = parse("CustomKeyword = 'x' AND ExecutionStatus = 'Failed'", {"CustomKeyword": 2})
    assert [row.run_id for row in (await store.list_executions(NAMESPACE, query, 9, b""))[0]] == [run_id(1)]


async def test_how_long_a_history_is_counts_once_it_is_complete(store: Store) -> None:
    size = {"history_length": 5, "history_size": 500, "state_transitions": 3}
    await written(store, visibility=[execution(1, **size), execution(2, status=2, close_time=NOON + 9, **size)])

    for text in ("HistoryLength = 5", "HistorySizeBytes = 500", "StateTransitionCount = 3"):
        assert [row.run_no for row in (await store.list_executions(NAMESPACE, parse(text, {}), 9, b""))[0]] == [2]


async def test_alternatives_are_found_wherever_each_is_looked_up(store: Store) -> None:
    custom = {"CustomKeyword": 2}
    rows = [
        execution(1),
        execution(2, workflow_type="Refund"),
        execution(3, task_queue="slow"),
        execution(4, values=[("CustomKeyword", 2, "x")]),
        execution(5),
    ]
    await written(store, visibility=rows)

    query = parse(
        "WorkflowId = 'order-1' OR WorkflowType = 'Refund' OR TaskQueue = 'slow' OR CustomKeyword = 'x'", custom
    )

    found = [row.run_no for row in (await store.list_executions(NAMESPACE, query, 9, b""))[0]]
    assert found == [4, 3, 2, 1]
    assert await store.count_executions(NAMESPACE, query) == [(None, 4)]


async def test_a_run_is_listed_once(store: Store) -> None:
    await written(store, visibility=[execution(1)])

    assert isinstance(await outcome(store, batch(visibility=[execution(2), execution(1)])), Refused)
    assert await store.count_executions(NAMESPACE, EVERYTHING) == [(None, 1)]


async def test_runs_are_found_by_run_id_root_and_status(store: Store) -> None:
    await written(
        store,
        runs=[run(1), run(2), run(3)],
        visibility=[
            execution(1),
            execution(2, root_workflow_id="order-1", root_run_id=run_id(1)),
            execution(3, status=5, close_time=NOON),
        ],
    )

    async def found(text: str) -> list[int]:
        rows, _ = await store.list_executions(NAMESPACE, parse(text, {}), 9, b"")
        return sorted(row.run_no for row in rows)

    assert await found(f"RunId = '{run_id(2)}'") == [2]
    assert await found(f"RunId IN ('{run_id(2)}', '{run_id(3)}')") == [2, 3]
    assert await found(f"NOT RunId = '{run_id(2)}'") == [1, 3]
    assert await found("RootWorkflowId = 'order-1'") == [1, 2]
    assert await found("RootWorkflowId != 'order-1'") == [3]
    assert await found("RootWorkflowId STARTS_WITH 'order'") == [1, 2, 3]
    assert await found("ExecutionStatus = 'Running'") == [1, 2]
    assert await found("ExecutionStatus IN ('Terminated', 'Failed')") == [3]
    assert await found("ExecutionStatus IN ('Running', 'Terminated')") == [1, 2, 3]
    assert await found("NOT ExecutionStatus = 'Running'") == [3]


async def test_a_page_of_large_memos_ends_before_it_is_full(store: Store) -> None:
    large = b"m" * (3 << 20)
    await written(store, visibility=[execution(number, memo=large) for number in range(1, 6)])

    pages, token = [], b""
    while True:
        rows, token = await store.list_executions(NAMESPACE, EVERYTHING, 5, token)
        pages.append([row.run_no for row in rows])
        if not token:
            break

    assert pages == [[5, 4, 3], [2, 1]]


async def test_system_divisions_are_hidden_unless_asked_for(store: Store) -> None:
    await written(store, visibility=[execution(1), execution(2, division="TemporalScheduler")])

    async def seen(text: str) -> int:
        query = parse(text, {})
        rows, _ = await store.list_executions(NAMESPACE, query, 9, b"")
        assert await store.count_executions(NAMESPACE, query) == [(None, len(rows))]
        return len(rows)

    assert await seen("") == 1
    assert await seen("WorkflowType = 'Order'") == 1
    assert await seen("TemporalNamespaceDivision = 'TemporalScheduler'") == 1
    assert await seen("TemporalNamespaceDivision IS NULL OR TemporalNamespaceDivision IS NOT NULL") == 2


async def test_namespaces_do_not_see_each_other(store: Store) -> None:
    await written(store, visibility=[execution(1), execution(2, namespace_id="other")])

    assert await store.count_executions("other", EVERYTHING) == [(None, 1)]
    assert [row.run_id for row in (await store.list_executions("other", EVERYTHING, 9, b""))[0]] == [run_id(2)]


async def test_each_kind_of_execution_is_listed_and_counted_for_itself(store: Store) -> None:
    paused = [("TemporalSchedulePaused", 5, 1)]
    await written(
        store,
        visibility=[
            execution(1, workflow_id="same"),
            execution(2, workflow_id="same", division="TemporalScheduler", values=paused),
            execution(3, workflow_id="gone", division="TemporalScheduler", status=5, close_time=NOON + 9),
            execution(4, workflow_id="same", division="TemporalActivity", status=6, close_time=NOON + 9),
        ],
    )

    async def found(text: str, vocabulary: Vocabulary) -> list[str]:
        rows, _ = await store.list_executions(NAMESPACE, parse(text, {}, vocabulary), 9, b"")
        return [row.run_id for row in rows]

    assert await found("", SCHEDULES) == [run_id(2)]
    assert await found("ScheduleId = 'same' AND TemporalSchedulePaused = true", SCHEDULES) == [run_id(2)]
    assert await found("ScheduleId = 'gone'", SCHEDULES) == []
    assert await found("ActivityId = 'same' AND ExecutionStatus = 'TimedOut'", ACTIVITIES) == [run_id(4)]
    assert await found("WorkflowId = 'same'", WORKFLOWS) == [run_id(1)]
    assert await found("ScheduleId = 'same' AND TemporalNamespaceDivision = 'TemporalScheduler'", WORKFLOWS) == [
        run_id(2)
    ]
    grouped = parse("GROUP BY ExecutionStatus", {}, ACTIVITIES, counting=True)
    assert await store.count_executions(NAMESPACE, grouped) == [(6, 1)]
    assert await store.count_executions(NAMESPACE, parse("", {}, SCHEDULES)) == [(None, 1)]
    divided = parse("GROUP BY TemporalNamespaceDivision", {}, counting=True)
    assert await store.count_executions(NAMESPACE, divided) == [
        (None, 1),
        ("TemporalActivity", 1),
        ("TemporalScheduler", 2),
    ]
