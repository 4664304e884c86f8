-- Format 1. Times are microseconds since 1970 UTC; IDs are the API's own text.

-- Small facts of the server, the format number and the release that wrote the file among them.
create table meta (
    name text primary key,
    value blob not null
) without rowid;

-- One row: the newest batch, and the highest numbers ever given out (rows come and go, numbers never come back).
create table marks (
    id integer primary key check (id = 1),
    batch_no integer not null,
    run_no integer not null,
    task_no integer not null,
    message_no integer not null
);
insert into marks values (1, 0, 0, 0, 0);

create table namespaces (
    namespace_id text primary key,
    name text not null unique,
    blob blob not null
) without rowid;

-- The latest run of an execution: all that Start needs to decide about an ID that is known already.
create table current (
    namespace_id text not null,
    kind integer not null,
    execution_id text not null,
    run_id text not null,
    run_no integer not null,
    status integer not null,
    first_run_id text not null,
    create_request_id text not null,
    start_time integer not null,
    primary key (namespace_id, kind, execution_id)
) without rowid;

-- `slot` and `epoch` are for several nodes on one database; here there is one slot and one owner.
create table runs (
    run_no integer primary key,
    version integer not null,
    wake_at integer,
    slot integer not null default 0,
    epoch integer not null default 0,
    kind integer not null,
    namespace_id text not null,
    execution_id text not null,
    run_id text not null,
    core blob not null
);
create index runs_by_id on runs (run_id);
-- Only runs that wait for a moment: a million sleeping workflows are read in order, the others not at all.
create index runs_by_wake on runs (wake_at) where wake_at is not null;

-- Pending things of a run too large for its core.
create table items (
    run_no integer not null,
    sort integer not null,
    key text not null,
    value blob not null,
    primary key (run_no, sort, key)
) without rowid;

create table request_ids (
    run_no integer not null,
    request_id text not null,
    event_type integer not null,
    event_id integer not null,
    primary key (run_no, request_id)
) without rowid;

-- The events of one commit of a run. Rows are appended, and only the small index is written in the middle: with the rows
-- themselves in key order, splitting their pages doubled the cost of a commit.
create table history (
    run_no integer not null,
    first_event_id integer not null,
    last_event_id integer not null,
    blob blob not null
);
create unique index history_by_run on history (run_no, first_event_id);

-- Runs that were deleted and whose rows above are not all gone yet. Swept in idle moments; this row goes last.
create table forgotten (
    run_no integer primary key
);

-- Tasks that wait for a poller. An index entry, never truth.
create table tasks (
    task_no integer primary key,
    namespace_id text not null,
    queue text not null,
    kind integer not null,
    priority integer not null,
    fairness_key text not null,
    execution_id text not null,
    run_id text not null,
    scheduled_event_id integer not null,
    attempt integer not null,
    stamp integer not null,
    created integer not null
);
create index tasks_by_queue on tasks (namespace_id, queue, kind, priority, task_no);

-- Messages on their way to another execution.
create table outbox (
    message_no integer primary key,
    namespace_id text not null,
    kind integer not null,
    execution_id text not null,
    blob blob not null
);

-- What list and count see. `close_order` is the close time, or the far future while open (9999-12-31T23:59:59.999999Z):
-- the order of every list is close_order desc, start_time desc, run_no, so indexes carry it (the last by nature).
-- Absent parents and divisions are null, since filters follow SQL's logic of null. The root of a run that is its own is
-- null too, because such are nearly all and need no place in an index.
create table executions (
    run_no integer primary key,
    namespace_id text not null,
    run_id text not null,
    workflow_id text not null,
    workflow_type text not null,
    status integer not null,
    division text,
    start_time integer not null,
    execution_time integer not null,
    close_time integer,
    close_order integer not null,
    task_queue text not null,
    parent_workflow_id text,
    parent_run_id text,
    root_workflow_id text,
    root_run_id text,
    history_length integer not null,
    history_size integer not null,
    state_transitions integer not null,
    memo blob not null,
    search_attributes blob not null
);
-- Each index is one page more in the commits that start and close a run, so there is none that another can stand in for:
-- run IDs are found by `runs_by_id`, open runs are the head of the order, and completed ones are most of its tail.
create index executions_by_order on executions (namespace_id, division, close_order desc, start_time desc);
create index executions_by_status on executions (namespace_id, status, close_order desc, start_time desc)
    where status > 2;
create index executions_by_type on executions (namespace_id, workflow_type, close_order desc, start_time desc);
create index executions_by_id on executions (namespace_id, workflow_id);
create index executions_by_parent on executions (namespace_id, parent_workflow_id)
    where parent_workflow_id is not null;
create index executions_by_root on executions (namespace_id, root_workflow_id)
    where root_workflow_id is not null;
create index executions_by_queue on executions (namespace_id, task_queue);

-- A row a value: one for a scalar, one for each element of a KeywordList, one for each word of a Text.
-- `value` has no declared type, so that numbers stay numbers and text stays text.
create table search_values (
    run_no integer not null,
    name text not null,
    value not null,
    primary key (run_no, name, value)
) without rowid;
create index search_values_by_value on search_values (name, value, run_no);

-- What the planner should believe of a large database. Without it a search for one workflow ID looks no better than a walk
-- through the whole list in order. Fixed, so that a plan never depends on when somebody last ran ANALYZE.
analyze sqlite_schema;
insert into sqlite_stat1 (tbl, idx, stat) values
    ('executions', 'executions_by_order', '1000000 500000 400000 50000 1'),
    ('executions', 'executions_by_status', '200000 100000 20000 2 1'),
    ('executions', 'executions_by_type', '1000000 500000 50000 10000 1'),
    ('executions', 'executions_by_id', '1000000 500000 2'),
    ('executions', 'executions_by_parent', '200000 100000 10'),
    ('executions', 'executions_by_root', '200000 100000 10'),
    ('executions', 'executions_by_queue', '1000000 500000 50000'),
    ('search_values', 'search_values', '2000000 2 1 1'),
    ('search_values', 'search_values_by_value', '2000000 500000 100 1');
analyze sqlite_schema;

-- Counts by status, kept by the triggers below, so that a count without a filter reads a handful of rows.
-- A division of '' stands for users' workflows: a primary key holds no nulls.
create table execution_counts (
    namespace_id text not null,
    division text not null,
    status integer not null,
    total integer not null,
    primary key (namespace_id, division, status)
) without rowid;

create trigger count_started after insert on executions begin
    insert into execution_counts values (new.namespace_id, coalesce(new.division, ''), new.status, 1)
        on conflict do update set total = total + 1;
end;

create trigger count_moved after update of status on executions when old.status <> new.status begin
    update execution_counts set total = total - 1
     where namespace_id = old.namespace_id and division = coalesce(old.division, '') and status = old.status;
    insert into execution_counts values (new.namespace_id, coalesce(new.division, ''), new.status, 1)
        on conflict do update set total = total + 1;
end;

create trigger count_deleted after delete on executions begin
    update execution_counts set total = total - 1
     where namespace_id = old.namespace_id and division = coalesce(old.division, '') and status = old.status;
    delete from search_values where run_no = old.run_no;
end;
