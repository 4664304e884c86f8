-- Reads of a whole file, for whoever examines it. All go by an index or by the table itself, row after row.

-- name: runs
select run_no, version, run_id, core, wake_at, namespace_id, kind, execution_id from runs order by run_id, run_no;

-- name: run_by_id
select run_no, version, run_id, core, wake_at, namespace_id, kind, execution_id
  from runs
 where run_id = ? and namespace_id = ? and kind = ? and execution_id = ?;

-- name: item
select value from items where run_no = ? and sort = ? and key = ?;

-- name: history
select first_event_id, last_event_id, blob from history where run_no = ? order by first_event_id, last_event_id;

-- name: search_values
select name, value from search_values where run_no = ?;

-- name: tasks
select task_no, namespace_id, queue, kind, priority, fairness_key, execution_id, run_id, scheduled_event_id, attempt,
       stamp, created, fairness_pass, fairness_weight
  from tasks
 order by run_id, task_no;

-- name: current_without_run
select c.namespace_id, c.kind, c.execution_id, c.run_id
  from current c left join runs r on r.run_no = c.run_no
 where r.run_no is null or r.run_id <> c.run_id or r.namespace_id <> c.namespace_id or r.kind <> c.kind
    or r.execution_id <> c.execution_id;

-- name: numbers_without_run
-- Rows of runs that are not there, and were not forgotten either. (what, run number, rows)
select 'history', run_no, count(*) from history
 where run_no not in (select run_no from runs) and run_no not in (select run_no from forgotten) group by run_no
union all
select 'items', run_no, count(*) from items
 where run_no not in (select run_no from runs) and run_no not in (select run_no from forgotten) group by run_no
union all
select 'request_ids', run_no, count(*) from request_ids
 where run_no not in (select run_no from runs) and run_no not in (select run_no from forgotten) group by run_no
union all
select 'executions', run_no, count(*) from executions where run_no not in (select run_no from runs) group by run_no
union all
select 'search_values', run_no, count(*) from search_values
 where run_no not in (select run_no from executions) group by run_no;

-- name: forgotten_runs
select f.run_no, r.namespace_id, r.kind, r.execution_id, r.run_id from forgotten f join runs r on r.run_no = f.run_no;

-- name: without_namespace
-- Rows of namespaces that are not there. (what, namespace ID, rows)
select 'runs', namespace_id, count(*) from runs
 where namespace_id not in (select namespace_id from namespaces) group by namespace_id
union all
select 'current', namespace_id, count(*) from current
 where namespace_id not in (select namespace_id from namespaces) group by namespace_id
union all
select 'executions', namespace_id, count(*) from executions
 where namespace_id not in (select namespace_id from namespaces) group by namespace_id
union all
select 'tasks', namespace_id, count(*) from tasks
 where namespace_id not in (select namespace_id from namespaces) group by namespace_id
union all
select 'queues', namespace_id, count(*) from queues
 where namespace_id not in (select namespace_id from namespaces) group by namespace_id;

-- name: miscounted
-- (namespace ID, division, status, total that is kept, rows that there are)
with counted as (
    select namespace_id, coalesce(division, '') as division, status, count(*) as rows
      from executions group by 1, 2, 3
)
select namespace_id, division, status, coalesce(k.total, 0), c.rows
  from counted c left join execution_counts k using (namespace_id, division, status)
 where coalesce(k.total, 0) <> c.rows
union all
select namespace_id, division, status, k.total, 0
  from execution_counts k left join counted c using (namespace_id, division, status)
 where c.rows is null and k.total <> 0;

-- name: highest_numbers
select coalesce((select max(run_no) from runs), 0), coalesce((select max(task_no) from tasks), 0),
       coalesce((select max(message_no) from outbox), 0);

-- name: schema
-- SQLite's own tables are its own business.
select type || ' ' || name, sql from sqlite_schema where name not like 'sqlite#_%' escape '#' order by 1;

-- name: counts
select (select count(*) from runs), (select count(*) from tasks), (select count(*) from outbox);
