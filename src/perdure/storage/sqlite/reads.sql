-- name: closed_runs
-- The tail of the order of lists.
select r.namespace_id, r.kind, r.execution_id, r.run_id
  from executions e join runs r on r.run_no = e.run_no
 where e.namespace_id = ?1 and e.division is nullif(?2, '') and e.close_order <= ?3
 order by e.close_order
 limit ?4;

-- name: runs_of
select r.namespace_id, r.kind, r.execution_id, r.run_id
  from executions e join runs r on r.run_no = e.run_no
 where e.namespace_id = ?1
 limit ?2;

-- name: current
select namespace_id, kind, execution_id, run_id, run_no, status, first_run_id, create_request_id, start_time
  from current
 where namespace_id = ? and kind = ? and execution_id = ?;

-- name: run_by_no
select run_no, version, run_id, core from runs where run_no = ?;

-- name: run_by_id
select run_no, version, run_id, core
  from runs
 where run_id = ? and namespace_id = ? and kind = ? and execution_id = ?;

-- name: items
select sort, key, value from items where run_no = ? order by sort, key;

-- name: request_ids
select request_id, event_type, event_id from request_ids where run_no = ? order by request_id;

-- name: history
-- Whole batches: the one that holds the first event asked for, to the one that holds the last.
select first_event_id, last_event_id, blob
  from history
 where run_no = ?1
   and first_event_id >= coalesce(
           (select max(first_event_id) from history where run_no = ?1 and first_event_id <= ?2), 0)
   and first_event_id <= ?3
   and last_event_id >= ?2
 order by first_event_id;

-- name: history_reverse
select first_event_id, last_event_id, blob
  from history
 where run_no = ?1 and first_event_id <= ?2
 order by first_event_id desc;

-- name: tasks
select task_no, namespace_id, queue, kind, priority, fairness_key, execution_id, run_id, scheduled_event_id, attempt,
       stamp, created, fairness_pass, fairness_weight
  from tasks
 where namespace_id = ? and queue = ? and kind = ? and (priority, fairness_pass, task_no) > (?, ?, ?)
 order by priority, fairness_pass, task_no
 limit ?;

-- name: tasks_of_key
select task_no, namespace_id, queue, kind, priority, fairness_key, execution_id, run_id, scheduled_event_id, attempt,
       stamp, created, fairness_pass, fairness_weight
  from tasks
 where namespace_id = ? and queue = ? and kind = ? and priority = ? and fairness_key = ? and fairness_key <> ''
   and (fairness_pass, task_no) > (?, ?)
 order by fairness_pass, task_no
 limit ?;

-- name: first_pass
select fairness_pass
  from tasks
 where namespace_id = ? and queue = ? and kind = ? and priority = ?
 order by fairness_pass
 limit 1;

-- name: last_pass
select fairness_pass
  from tasks
 where namespace_id = ? and queue = ? and kind = ? and priority = ?
 order by fairness_pass desc
 limit 1;

-- name: last_pass_of_key
-- The condition on the key is what makes the index, which leaves out the empty one, fit.
select fairness_pass
  from tasks
 where namespace_id = ? and queue = ? and kind = ? and priority = ? and fairness_key = ? and fairness_key <> ''
 order by fairness_pass desc
 limit 1;

-- name: task_counts
-- The age of a backlog is that of the oldest among those first in line: passes let nobody wait beyond them for long.
select priority, count(*),
       (select min(created) from (
            select created
              from tasks as head
             where head.namespace_id = ?1 and head.queue = ?2 and head.kind = ?3 and head.priority = tasks.priority
             order by fairness_pass, task_no
             limit 100))
  from tasks
 where namespace_id = ?1 and queue = ?2 and kind = ?3
 group by priority;

-- name: queues
select namespace_id, queue, kind, config from queues;

-- name: due_runs
-- Two stretches of one index, merged. A comparison of (wake_at, run_no) as row values would seek by the first alone: with
-- ten thousand runs at one instant, each page would walk past all that came before it.
select wake_at, run_no, namespace_id, kind, execution_id, run_id
  from runs
 where wake_at = ?1 and run_no > ?2 and wake_at <= ?3
union all
select wake_at, run_no, namespace_id, kind, execution_id, run_id
  from runs
 where wake_at > ?1 and wake_at <= ?3
 order by wake_at, run_no
 limit ?4;

-- name: open_executions
-- A walk over all executions: for starts of a server that skips time, not for the hot path. 1 is RUNNING.
select namespace_id, kind, execution_id
  from current
 where (namespace_id, kind, execution_id) > (?, ?, ?) and status = 1
 order by namespace_id, kind, execution_id
 limit ?;

-- name: outbox
select message_no, namespace_id, kind, execution_id, blob from outbox where message_no > ? order by message_no limit ?;

-- name: namespaces
select namespace_id, name, blob from namespaces order by name;

-- name: meta
-- The store's own two entries are not the runtime's business.
select name, value from meta where name not in ('format', 'written_by');

-- name: marks
select batch_no, run_no, task_no, message_no from marks;
