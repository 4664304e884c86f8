-- The statements of one batch, in the order in which `batch.py` runs them. Values go by position.

-- name: update_run
-- The version guard: as many rows must change as were given, or the whole batch is refused.
-- (run_no, version, core, wake_at)
update runs set version = ?2, core = ?3, wake_at = ?4 where run_no = ?1 and version = ?2 - 1;

-- name: insert_run
-- A run that is there already breaks the primary key, and so the batch.
insert into runs (run_no, version, core, wake_at, namespace_id, kind, execution_id, run_id, slot)
values (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: run_version
select version from runs where run_no = ?;

-- name: insert_history
insert into history (run_no, first_event_id, last_event_id, blob) values (?, ?, ?, ?);

-- name: copy_history
-- A run that was reset begins with the history of another one. (run_no, run_no of the other, last event ID)
insert into history (run_no, first_event_id, last_event_id, blob)
select ?1, first_event_id, last_event_id, blob from history
 where run_no = ?2 and last_event_id <= ?3 and first_event_id <= ?3 order by first_event_id;

-- name: put_item
insert or replace into items (run_no, sort, key, value) values (?, ?, ?, ?);

-- name: delete_item
delete from items where run_no = ? and sort = ? and key = ?;

-- name: put_request_id
insert or replace into request_ids (run_no, request_id, event_type, event_id) values (?, ?, ?, ?);

-- name: put_current
insert into current
    (namespace_id, kind, execution_id, run_id, run_no, status, first_run_id, create_request_id, start_time)
values (?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict (namespace_id, kind, execution_id) do update
   set run_id = excluded.run_id, run_no = excluded.run_no, status = excluded.status,
       first_run_id = excluded.first_run_id, create_request_id = excluded.create_request_id,
       start_time = excluded.start_time;

-- name: insert_execution
insert into executions
    (run_no, namespace_id, run_id, workflow_id, workflow_type, status, start_time, execution_time, close_time,
     close_order, task_queue, parent_workflow_id, parent_run_id, root_workflow_id, root_run_id, history_length,
     history_size, state_transitions, memo, search_attributes, division)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, coalesce(?9, 253402300799999999), ?10, nullif(?11, ''), nullif(?12, ''),
        nullif(nullif(?13, ''), ?4), nullif(?14, ''), ?15, ?16, ?17, ?18, ?19, nullif(?20, ''));

-- name: move_execution
-- Its place in the order of lists, and with it all indexes that carry the order.
update executions
   set execution_time = ?2, history_length = ?3, history_size = ?4, state_transitions = ?5, memo = ?6,
       search_attributes = ?7, status = ?8, close_time = ?9, close_order = coalesce(?9, 253402300799999999)
 where run_no = ?1;

-- name: update_execution
-- Nothing that an index knows.
update executions
   set execution_time = ?2, history_length = ?3, history_size = ?4, state_transitions = ?5, memo = ?6,
       search_attributes = ?7
 where run_no = ?1;

-- name: requeue_execution
update executions set task_queue = ?2 where run_no = ?1;

-- name: clear_search_values
delete from search_values where run_no = ?;

-- name: put_search_value
-- A KeywordList may name one value twice.
insert or ignore into search_values (run_no, name, value) values (?, ?, ?);

-- name: insert_task
insert into tasks
    (task_no, namespace_id, queue, kind, priority, fairness_key, execution_id, run_id, scheduled_event_id, attempt,
     stamp, created, fairness_pass, fairness_weight)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: delete_task
delete from tasks where task_no = ?;

-- name: insert_message
insert into outbox (message_no, namespace_id, kind, execution_id, blob) values (?, ?, ?, ?, ?);

-- name: delete_message
delete from outbox where message_no = ?;

-- name: put_namespace
insert into namespaces (namespace_id, name, blob) values (?, ?, ?)
on conflict (namespace_id) do update set name = excluded.name, blob = excluded.blob;

-- name: delete_namespace
delete from namespaces where namespace_id = ?;

-- name: put_queue
insert or replace into queues (namespace_id, queue, kind, config) values (?, ?, ?, ?);

-- name: delete_queues
delete from queues where namespace_id = ?;

-- name: delete_tasks_of_namespace
delete from tasks where namespace_id = ?;

-- name: forget_run
-- The tombstone: `sweep` removes the run's other rows and this one last.
insert or ignore into forgotten (run_no) values (?);

-- name: delete_run
delete from runs where run_no = ?;

-- name: delete_current
-- Only while it points at the deleted run: a later run of the same ID keeps its pointer.
delete from current where namespace_id = ? and kind = ? and execution_id = ? and run_id = ?;

-- name: delete_execution
delete from executions where run_no = ?;

-- name: put_meta
insert or replace into meta (name, value) values (?, ?);

-- name: mark
-- In the transaction of every batch: after a lost reply this tells whether it landed.
update marks
   set batch_no = ?1, run_no = max(run_no, ?2), task_no = max(task_no, ?3), message_no = max(message_no, ?4);

-- name: next_forgotten
select run_no from forgotten order by run_no limit 1;

-- name: sweep_history
delete from history
 where run_no = ?1
   and first_event_id in (select first_event_id from history where run_no = ?1 order by first_event_id limit ?2);

-- name: sweep_items
delete from items
 where run_no = ?1 and (sort, key) in (select sort, key from items where run_no = ?1 order by sort, key limit ?2);

-- name: sweep_request_ids
delete from request_ids
 where run_no = ?1
   and request_id in (select request_id from request_ids where run_no = ?1 order by request_id limit ?2);

-- name: sweep_tombstone
delete from forgotten where run_no = ?;
