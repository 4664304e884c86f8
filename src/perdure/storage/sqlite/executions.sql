-- The ends between which `visibility.py` puts a compiled filter. {source} says which index the rows come from.

-- name: list_keys
-- Keys alone: an index may have all of them, and what is sorted stays small however large the memos are.
select e.run_no, e.close_order, e.start_time from executions e {source} where e.namespace_id = ?;

-- name: execution
select e.run_no, e.namespace_id, e.run_id, e.workflow_id, e.workflow_type, e.status, e.start_time, e.execution_time,
       e.close_time, e.task_queue, e.parent_workflow_id, e.parent_run_id, coalesce(e.root_workflow_id, e.workflow_id),
       e.root_run_id, e.history_length, e.history_size, e.state_transitions, e.memo, e.search_attributes, e.division
  from executions e
 where e.run_no = ?;

-- name: after
-- Strictly after a row of the order below. The first comparison is the one an index can seek by.
(e.close_order, e.start_time) <= (?, ?) and not (e.close_order = ? and e.start_time = ? and e.run_no <= ?);

-- name: order
order by e.close_order desc, e.start_time desc, e.run_no limit ?;

-- name: count_executions
select count(*) from executions e {source} where e.namespace_id = ?;

-- name: count_by_status
-- Filters on status and division alone never touch the executions.
select coalesce(sum(e.total), 0)
  from (select namespace_id, nullif(division, '') as division, status, total from execution_counts) e
 where e.namespace_id = ?;
