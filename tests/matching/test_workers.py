from __future__ import annotations

from perdure.matching import StoppedWorkers, WorkerRegistry


def test_a_worker_is_known_until_five_minutes_after_its_last_heartbeat() -> None:
    registry = WorkerRegistry()
    registry.record("ns", "w1", b"first", 0.0)
    registry.record("ns", "w1", b"second", 60.0)

    entry = registry.describe_worker("ns", "w1", 360.0)
    assert entry is not None
    assert (entry.heartbeat, entry.first_seen, entry.last_seen) == (b"second", 0.0, 60.0)
    assert registry.describe_worker("ns", "w1", 360.1) is None
    assert len(registry) == 0
    assert registry.has_reported("ns")
    assert not registry.has_reported("other")


def test_workers_are_listed_in_pages_by_instance_key() -> None:
    registry = WorkerRegistry()
    for key in ("c", "a", "d", "b"):
        registry.record("ns", key, b"", 0.0)
    registry.record("other", "x", b"", 0.0)

    page, token = registry.list_workers("ns", 1.0, page_size=2)
    assert [entry.worker_instance_key for entry in page] == ["a", "b"]
    page, token = registry.list_workers("ns", 1.0, page_size=2, after=token)
    assert [entry.worker_instance_key for entry in page] == ["c", "d"]
    assert token == ""
    assert len(registry.list_workers("ns", 1.0)[0]) == 4


def test_the_worker_not_heard_of_for_longest_makes_room() -> None:
    registry = WorkerRegistry(limit=2)
    registry.record("ns", "a", b"", 0.0)
    registry.record("ns", "b", b"", 1.0)
    registry.record("ns", "a", b"", 2.0)

    registry.record("ns", "c", b"", 3.0)

    assert [entry.worker_instance_key for entry in registry.list_workers("ns", 3.0)[0]] == ["a", "c"]


def test_a_deleted_namespace_takes_its_workers_along() -> None:
    registry = WorkerRegistry()
    registry.record("ns", "a", b"", 0.0)

    registry.forget_namespace("ns")

    assert len(registry) == 0
    assert not registry.has_reported("ns")


def test_a_stopped_worker_is_known_by_the_queues_it_polls_no_more_for_five_minutes() -> None:
    stopped = StoppedWorkers()
    stopped.add("ns", "w1", [1], 0.0)

    assert stopped.has("ns", "w1", 1, 300.0)
    assert not stopped.has("ns", "w1", 2, 0.0)
    assert not stopped.has("ns", "w2", 1, 0.0)
    assert not stopped.has("other", "w1", 1, 0.0)
    assert not stopped.has("ns", "w1", 1, 300.1)


def test_the_worker_that_stopped_first_makes_room() -> None:
    stopped = StoppedWorkers(limit=2)
    for moment, key in enumerate(("w1", "w2", "w3")):
        stopped.add("ns", key, [1], float(moment))

    assert [stopped.has("ns", key, 1, 3.0) for key in ("w1", "w2", "w3")] == [False, True, True]


def test_workers_that_say_too_much_make_room_too_but_the_last_one_stays() -> None:
    registry = WorkerRegistry(limit_bytes=100)
    registry.record("ns", "a", b"x" * 60, 0.0)
    registry.record("ns", "a", b"x" * 50, 1.0)
    registry.record("ns", "b", b"x" * 50, 2.0)
    assert len(registry) == 2

    registry.record("ns", "c", b"x" * 10, 3.0)
    assert registry.describe_worker("ns", "a", 3.0) is None
    registry.record("ns", "d", b"x" * 1000, 4.0)
    assert [entry.worker_instance_key for entry in registry.list_workers("ns", 4.0)[0]] == ["d"]

    registry.forget_namespace("ns")
    registry.record("ns", "e", b"x" * 50, 5.0)
    registry.record("ns", "f", b"x" * 50, 5.0)
    assert len(registry) == 2
