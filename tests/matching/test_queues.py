"""Tasks and pollers meet: given a line or a backlog, when one comes, then who gets what."""

from __future__ import annotations

from perdure.matching import Matching, Poller, QueueKey, Task

ORDERS: QueueKey = ("ns", "orders", 1)
STICKY: QueueKey = ("ns", "worker-7-sticky", 1)


def task(number: int, priority: int = 3, queue: QueueKey = ORDERS, created: int = 0) -> Task:
    return Task(queue, number, f"order-{number}", "run", 5, priority=priority, created=created)


def poller(identity: str = "worker", queue: QueueKey = ORDERS, key: str = "") -> Poller:
    return Poller(queue, identity, None, worker_instance_key=key)


def query() -> Task:
    return Task(ORDERS, 0, "order", "run", 0, query="status?")


def park(matching: Matching, *pollers: Poller, now: float = 0.0) -> None:
    for each in pollers:
        assert matching.poll(each, now) is None
        while load := matching.begin_load(each.queue):
            assert matching.loaded(load, [], True, now) == []


def read(matching: Matching) -> Matching:
    """A matching whose queue ORDERS was read and is empty."""
    first = poller("reader")
    park(matching, first, now=-1_000.0)
    matching.cancel(first, -1_000.0)
    return matching


def offer(matching: Matching, *tasks: Task) -> None:
    for each in tasks:
        assert matching.reserve(each, 0.0) is None
        if not matching.place(each, 0.0):
            matching.learn(each, None, 0.0)
            assert matching.place(each, 0.0)
        matching.offer(each, 0.0)


def take_all(matching: Matching) -> list[int]:
    taken = []
    while True:
        last = poller("drain")
        found = matching.poll(last, 0.0)
        if found is None:
            matching.cancel(last, 0.0)
            return taken
        taken.append(found.task_no)


def test_the_poller_that_waited_longest_gets_a_new_task() -> None:
    matching = Matching()
    first, second = poller("first"), poller("second")
    park(matching, first, second)

    assert matching.reserve(task(1), 1.0) is first
    assert matching.reserve(task(2), 1.0) is second
    assert matching.reserve(task(3), 1.0) is None


def test_a_released_poller_is_first_in_line_again() -> None:
    matching = Matching()
    first, second = poller("first"), poller("second")
    park(matching, first, second)
    matching.reserve(task(1), 1.0)

    assert matching.release(first, 1.0) is None

    assert matching.reserve(task(2), 1.0) is first


def test_a_released_poller_takes_what_came_meanwhile_instead_of_parking_beside_it() -> None:
    matching = Matching()
    only = poller()
    park(matching, only)
    matching.reserve(task(1), 1.0)
    offer(matching, task(2))

    released = matching.release(only, 1.0)

    assert released is not None
    assert released.task_no == 2


def test_a_poller_cancelled_while_its_task_starts_does_not_return_to_the_line() -> None:
    matching = Matching()
    only = poller()
    park(matching, only)
    matching.reserve(task(1), 1.0)

    assert not matching.cancel(only, 1.0)
    assert only.cancelled
    assert matching.release(only, 1.0) is None

    assert matching.reserve(task(2), 1.0) is None


def test_backlog_goes_by_priority_then_by_number() -> None:
    matching = read(Matching())
    offer(matching, task(1), task(2, priority=5), task(3, priority=1), task(4), task(5, priority=1))

    assert take_all(matching) == [3, 5, 1, 4, 2]


def test_a_task_put_back_is_first_among_its_priority() -> None:
    matching = read(Matching())
    offer(matching, task(1), task(2), task(3))
    gone = poller()
    taken = matching.poll(gone, 0.0)
    assert taken is not None
    matching.cancel(gone, 0.0)

    assert matching.put_back(taken, 0.0) is None

    assert take_all(matching) == [1, 2, 3]


def test_a_task_put_back_goes_to_a_parked_poller_at_once() -> None:
    matching = read(Matching())
    offer(matching, task(1))
    gone, other = poller("gone"), poller("other")
    taken = matching.poll(gone, 0.0)
    assert taken is not None
    park(matching, other)
    matching.cancel(gone, 0.0)

    assert matching.put_back(taken, 0.0) is other


def test_a_thousand_cancelled_polls_leave_nothing() -> None:
    matching = read(Matching())
    pollers = [poller() for _ in range(1_000)]
    park(matching, *pollers)

    for each in pollers:
        assert matching.cancel(each, 0.0)

    assert not matching._queues[ORDERS].line
    assert matching.reserve(task(1), 0.0) is None


def test_withdrawn_tasks_leave_no_holes_behind() -> None:
    matching = read(Matching())
    offer(matching, *(task(number) for number in range(1, 1_001)))

    for number in range(1_000, 1, -1):
        assert matching.withdraw(ORDERS, number)
    matching.rows.committed(range(1, 1_001), range(2, 1_001))

    assert sum(map(len, matching._queues[ORDERS].backlog._lanes)) < 70
    assert matching.rows.departed == {}
    assert take_all(matching) == [1]


def test_a_query_goes_ahead_of_the_backlog_and_needs_no_row() -> None:
    matching = read(Matching())
    offer(matching, task(1))
    first, second = query(), query()
    matching.offer(first, 0.0)
    matching.offer(second, 0.0)

    assert matching.withdraw_volatile(first)
    assert not matching.withdraw_volatile(first)

    assert matching.poll(poller(), 0.0) is second
    assert take_all(matching) == [1]


def test_a_query_is_not_held_up_by_rows_still_being_read() -> None:
    matching = Matching()
    waiting = poller()
    assert matching.poll(waiting, 0.0) is None
    load = matching.begin_load(ORDERS)
    assert load is not None

    assert matching.reserve(query(), 0.0) is waiting


def test_after_a_start_rows_are_read_before_new_tasks_are_matched() -> None:
    matching = Matching()
    waiting = poller()
    assert not matching.is_loaded(ORDERS)
    assert matching.poll(waiting, 0.0) is None
    load = matching.begin_load(ORDERS)
    assert load is not None
    assert load.after == (0, 0, 0)
    new = task(9)
    assert matching.reserve(new, 0.0) is None
    matching.offer(new, 0.0)

    matches = matching.loaded(load, [task(4), task(5)], True, 0.0)

    assert [(found.task_no, by) for found, by in matches] == [(4, waiting)]
    assert matching.is_loaded(ORDERS)
    assert take_all(matching) == [5, 9]


def test_beyond_its_capacity_a_queue_leaves_tasks_to_the_store_and_reads_them_when_half_empty() -> None:
    matching = read(Matching(capacity=4))
    numbers = range(1, 11)
    kept = [matching.offer(task(number), 0.0) for number in numbers]
    assert kept == [True] * 4 + [False] * 6
    matching.rows.committed(numbers, ())
    assert matching.survey.backlog_count(ORDERS) == 4
    for _ in range(2):
        matching.poll(poller(), 0.0)
    assert matching.begin_load(ORDERS) is None
    matching.poll(poller(), 0.0)

    load = matching.begin_load(ORDERS)

    assert load is not None
    assert (load.after, load.limit) == ((3, 0, 4), 3)
    matching.loaded(load, [task(5), task(6), task(7)], False, 0.0)
    assert take_all(matching) == [4, 5, 6, 7]


def test_an_urgent_task_pushes_the_last_one_out_of_memory() -> None:
    matching = read(Matching(capacity=2))
    offer(matching, task(1), task(2))
    matching.rows.committed((1, 2), ())

    assert matching.offer(task(3, priority=1), 0.0)

    assert [waiting.task_no for waiting in matching._queues[ORDERS].backlog] == [3, 1]
    stats = matching.survey.stats(ORDERS, 0.0)
    assert (stats.backlog_count, stats.overflow) == (2, True)


def test_memory_pushes_nothing_out_while_rows_are_read() -> None:
    matching = read(Matching(capacity=3))
    matching.offer(task(1), 0.0)
    for number in range(2, 5):
        matching.offer(task(number, priority=4), 0.0)
    matching.rows.committed(range(1, 5), ())
    for _ in range(2):
        matching.poll(poller(), 0.0)
    load = matching.begin_load(ORDERS)
    assert load is not None
    offer(matching, *(task(number, priority=1) for number in range(5, 8)))

    matching.loaded(load, [task(4, priority=4)], True, 0.0)

    assert take_all(matching) == [5, 6, 7], "task 3, pushed out now, is a row past the boundary again"
    again = matching.begin_load(ORDERS)
    assert again is not None
    assert again.after < (4, 0, 3)


def test_a_withdrawal_refused_after_its_row_was_read_leaves_the_task_waiting() -> None:
    matching = Matching()
    matching.poll(poller(), 0.0)
    matching.withdraw(ORDERS, 4)
    load = matching.begin_load(ORDERS)
    assert load is not None
    matching.loaded(load, [task(4)], True, 0.0)

    matches = matching.refused((), (4,), 0.0)

    assert [found.task_no for found, _ in matches] == [4]


def test_a_row_whose_deletion_is_not_durable_is_not_dispatched_again() -> None:
    matching = Matching()
    assert matching.poll(poller(), 0.0) is None
    assert not matching.withdraw(ORDERS, 4)
    load = matching.begin_load(ORDERS)
    assert load is not None

    assert matching.loaded(load, [task(4)], True, 0.0) == []


def test_a_row_that_was_read_before_its_deletion_landed_is_not_dispatched_again() -> None:
    matching = Matching()
    assert matching.poll(poller(), 0.0) is None
    matching.withdraw(ORDERS, 4)
    load = matching.begin_load(ORDERS)
    assert load is not None
    rows = [task(4)]

    matching.rows.committed((), (4,))

    assert matching.loaded(load, rows, True, 0.0) == []
    assert take_all(matching) == []


def test_a_sticky_queue_is_alive_while_it_is_polled_and_ten_seconds_longer() -> None:
    matching = Matching()
    assert not matching.survey.has_recent_poller(STICKY, 0.0, 10.0)
    parked = poller(queue=STICKY)
    park(matching, parked)

    assert matching.survey.has_recent_poller(STICKY, 55.0, 10.0)
    matching.cancel(parked, 55.0)
    assert matching.survey.has_recent_poller(STICKY, 65.0, 10.0)
    assert not matching.survey.has_recent_poller(STICKY, 65.1, 10.0)


def test_an_unloaded_sticky_queue_is_dead_at_once_and_hands_back_its_tasks() -> None:
    matching = Matching()
    parked, busy = poller(queue=STICKY), poller(queue=STICKY)
    park(matching, busy)
    matching.reserve(task(1, queue=STICKY), 0.0)
    matching.offer(task(2, queue=STICKY), 0.0)
    matching.offer(task(3, priority=1, queue=STICKY), 0.0)

    left = matching.unload(STICKY, 1.0)

    assert [each.task_no for each in left.tasks] == [3, 2]
    assert left.after is None
    assert not matching.survey.has_recent_poller(STICKY, 1.0, 10.0)
    assert matching.unload(STICKY, 1.0).after == (0, 0, 0), "nobody knows what the store holds"
    park(matching, parked)
    assert matching.unload(STICKY, 1.0).pollers == [parked]


def test_a_worker_that_shuts_down_loses_its_polls_of_the_kinds_named() -> None:
    matching = Matching()
    activities: QueueKey = ("ns", "orders", 2)
    mine, others, mine_too = poller(key="w1"), poller(key="w2"), poller(queue=activities, key="w1")
    park(matching, mine, others, mine_too)

    assert matching.cancel_worker("ns", "w1", (1,), 0.0) == [mine]

    assert matching.reserve(task(1), 0.0) is others


def test_pollers_are_listed_by_identity_for_five_minutes() -> None:
    matching = Matching()
    first, second = poller("a"), poller("b")
    park(matching, first, now=0.0)
    park(matching, second, now=200.0)
    matching.cancel(first, 50.0)
    matching.cancel(second, 260.0)

    assert [info.identity for info in matching.survey.pollers(ORDERS, 350.0)] == ["a", "b"]
    assert [(info.identity, info.last_access) for info in matching.survey.pollers(ORDERS, 351.0)] == [("b", 260.0)]


def test_an_idle_queue_is_forgotten_and_a_used_one_is_not() -> None:
    matching = Matching()
    parked, done = poller(), poller(queue=STICKY)
    park(matching, parked, done)
    matching.cancel(done, 0.0)

    matching.expire(301.0)

    assert list(matching._queues) == [ORDERS]
    assert [info.identity for info in matching.survey.pollers(ORDERS, 301.0)] == ["worker"]


def test_rates_are_of_the_last_thirty_seconds() -> None:
    matching = read(Matching())
    for number in range(1, 61):
        matching.offer(task(number, created=number), 100.0 + number / 2)
    for _ in range(30):
        served = poller()
        matching.poll(served, 130.0)
        matching.confirm(served, 130.0)

    stats = matching.survey.stats(ORDERS, 130.0)
    assert stats.backlog_count == 30
    assert stats.oldest_created == 31
    assert 1.9 <= stats.add_rate <= 2.1
    assert matching.survey.stats_by_priority(ORDERS, 130.0)[3].backlog_count == 30
    assert matching.survey.stats(ORDERS, 165.0).add_rate == 0.0


def test_a_refused_batch_gives_back_the_tasks_it_would_have_deleted() -> None:
    matching = read(Matching())
    offer(matching, task(1), task(2))
    matching.rows.committed((1,), ())
    gone, parked = poller(), poller()
    matching.poll(gone, 0.0)
    matching.withdraw(ORDERS, 2)
    park(matching, parked)

    matches = matching.refused((2,), (1, 2), 0.0)

    assert [(found.task_no, by) for found, by in matches] == [(1, parked)]


def test_a_withdrawal_refused_leaves_the_task_waiting_once() -> None:
    matching = read(Matching())
    offer(matching, task(1), task(2), task(3))
    matching.rows.committed((1, 2, 3), ())
    matching.withdraw(ORDERS, 2)

    assert matching.refused((), (2,), 0.0) == []

    assert [each.task_no for each in matching.unload(ORDERS, 0.0).tasks] == [1, 2, 3]


def test_a_commit_noted_during_a_read_lets_go_of_a_task_that_waits_again() -> None:
    matching = Matching()
    offer(matching, task(2))
    matching.poll(poller(queue=STICKY), 0.0)
    load = matching.begin_load(STICKY)
    assert load is not None
    matching.rows.committed((2,), ())
    matching.withdraw(ORDERS, 2)
    matching.refused((), (2,), 0.0)

    matching.loaded(load, [], True, 0.0)

    assert matching.survey.backlog_count(ORDERS) == 0, "its row is durable: memory need not hold it"


def test_at_shutdown_all_parked_polls_end() -> None:
    matching = Matching()
    first, second = poller(), poller(queue=STICKY)
    park(matching, first, second)

    assert matching.cancel_all(1.0) == [first, second]

    assert matching.reserve(task(1), 1.0) is None
