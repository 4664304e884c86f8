"""The stored form of a run: a core, and items that live inside it while all are small, else in rows of their own.

Core: msgpack `[format, [fields of state.RunCore], parent, workflow task, items or None, extra]`.
Fields are only ever appended, so a newer release reads older blobs with defaults, and an older one keeps what it does
not know in `extra`. Item rows: the item as a msgpack list.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import msgpack
from msgspec.structs import astuple

from perdure.engine.items import Activity, Child, External, Parent, Timer, Update, WorkflowTask
from perdure.engine.state import ACTIVITY, BUFFERED, CANCEL, CHILD, CORE_FIELDS, OPEN, SIGNAL, TIMER, UPDATE, Run

FORMAT: Final = 1
_KNOWN: Final = len(CORE_FIELDS)
_pack: Final = msgpack.Encoder().encode


def encode_core(run: Run, items_in_core: int) -> bytes:
    """The core; with the items inside unless `run.spilled`. Sets `run.spilled` once they outgrow `items_in_core` bytes:
    the caller then writes all items as rows (`all_items`)."""
    items: Any = None
    if not run.spilled:
        items = _pack_items(run)
        if items is not None and len(items) > items_in_core:
            run.spilled = True
            items = None
    values = astuple(run)[:_KNOWN]
    if run.extra:
        values += tuple(run.extra)
    task = run.workflow_task
    if task is not None and task.speculative:
        task = None
    return _pack((FORMAT, values, run.parent, task, items, run.spilled))


def _pack_items(run: Run) -> bytes | None:
    updates = run.updates
    if not (run.activities or run.timers or run.children or run.signals or run.cancels or run.buffered or updates):
        return None
    items: tuple[Any, ...] = (
        list(run.activities.values()),
        list(run.timers.values()),
        list(run.children.values()),
        list(run.signals.values()),
        list(run.cancels.values()),
        run.buffered,
    )
    if updates:
        items += (list(updates.values()),)
    return _pack(items)


def item_value(run: Run, sort: int, key: str) -> bytes | None:
    """The row of one item; None when it is gone."""
    item: Any
    if sort == ACTIVITY:
        item = run.activities.get(int(key))
    elif sort == TIMER:
        item = run.timers.get(key)
    elif sort == CHILD:
        item = run.children.get(int(key))
    elif sort == SIGNAL:
        item = run.signals.get(int(key))
    elif sort == CANCEL:
        item = run.cancels.get(int(key))
    elif sort == UPDATE:
        item = run.updates.get(key)
    else:
        return _pack(run.buffered) if run.buffered else None
    return None if item is None else _pack(item)


def all_items(run: Run) -> list[tuple[int, str]]:
    """Sort and key of every item there is."""
    keys = [(ACTIVITY, str(k)) for k in run.activities]
    keys += [(TIMER, k) for k in run.timers]
    keys += [(CHILD, str(k)) for k in run.children]
    keys += [(SIGNAL, str(k)) for k in run.signals]
    keys += [(CANCEL, str(k)) for k in run.cancels]
    keys += [(UPDATE, k) for k in run.updates]
    if run.buffered:
        keys.append((BUFFERED, ""))
    return keys


def decode(core: bytes, items: list[tuple[int, str, bytes]]) -> Run:
    """The run as it was encoded, its deadlines armed. Raises ValueError for a format of a newer release."""
    fields = msgpack.decode(core)
    if fields[0] != FORMAT:
        raise ValueError(
            f"run state has format {fields[0]}, this release reads {FORMAT}: it was written by a newer release"
        )
    _, values, parent, task, inside, spilled = fields[:6]
    run = Run(*values[:_KNOWN])
    run.running = run.status in OPEN
    run.extra = values[_KNOWN:]
    run.parent = None if parent is None else Parent.unpack(parent)
    run.workflow_task = None if task is None else WorkflowTask.unpack(task)
    run.spilled = spilled
    if inside is not None:
        activities, timers, children, signals, cancels, buffered, *later = msgpack.decode(inside)
        for packed in activities:
            _add_activity(run, packed)
        for packed in timers:
            _add_timer(run, packed)
        for packed in children:
            _add(run.children, Child.unpack(packed))
        for packed in signals:
            _add(run.signals, External.unpack(packed))
        for packed in cancels:
            _add(run.cancels, External.unpack(packed))
        run.buffered = buffered
        for packed in later[0] if later else ():
            _add_update(run, packed)
    for sort, _, value in items:
        packed = msgpack.decode(value)
        if sort == ACTIVITY:
            _add_activity(run, packed)
        elif sort == TIMER:
            _add_timer(run, packed)
        elif sort == CHILD:
            _add(run.children, Child.unpack(packed))
        elif sort == SIGNAL:
            _add(run.signals, External.unpack(packed))
        elif sort == CANCEL:
            _add(run.cancels, External.unpack(packed))
        elif sort == UPDATE:
            _add_update(run, packed)
        else:
            run.buffered = packed
    from perdure.engine.waking import arm_all  # the deciding modules import the state, not the other way round

    arm_all(run)
    return run


def _add_activity(run: Run, packed: list[Any]) -> None:
    activity = Activity.unpack(packed)
    run.activities[activity.scheduled_event_id] = activity
    run.activity_ids[activity.activity_id] = activity.scheduled_event_id


def _add_timer(run: Run, packed: list[Any]) -> None:
    timer = Timer.unpack(packed)
    run.timers[timer.timer_id] = timer


def _add_update(run: Run, packed: list[Any]) -> None:
    update = Update.unpack(packed)
    run.updates[update.update_id] = update


def _add(items: dict[int, Any], item: Child | External) -> None:
    items[item.initiated_event_id] = item
