-- Format 2. What is most often asked together with an order is in its index, so that rows which do not match are passed
-- over without a look at the table. The statistics of format 1 are gone with the planner's choices: `visibility.py` names
-- the index of every statement.
drop index executions_by_order;
drop index executions_by_status;
drop index executions_by_type;

create index executions_by_order
    on executions (namespace_id, division, close_order desc, start_time desc, run_no, status, workflow_type);
create index executions_by_status
    on executions (namespace_id, status, close_order desc, start_time desc, run_no, workflow_type, division)
    where status > 2;
create index executions_by_type
    on executions (namespace_id, workflow_type, close_order desc, start_time desc, run_no, status, division);

delete from sqlite_stat1;
analyze sqlite_schema;
