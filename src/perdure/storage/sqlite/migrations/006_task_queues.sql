-- Format 6. Waiting tasks take turns by fairness key: within a priority they go in order of their pass, then of their
-- number. Tasks of older files have pass 0 and go first, as they came.
alter table tasks add column fairness_pass integer not null default 0;
alter table tasks add column fairness_weight real not null default 1;
drop index tasks_by_queue;
create index tasks_by_queue on tasks (namespace_id, queue, kind, priority, fairness_pass, task_no);
-- Where a key's tasks end, for the next one. Tasks without a key, nearly all, are not in it and cost nothing.
create index tasks_by_fairness_key on tasks (namespace_id, queue, kind, priority, fairness_key, fairness_pass)
    where fairness_key <> '';

-- Settings of those task queues that have any; a queue exists by being named.
create table queues (
    namespace_id text not null,
    queue text not null,
    kind integer not null,
    config blob not null,
    primary key (namespace_id, queue, kind)
) without rowid;
