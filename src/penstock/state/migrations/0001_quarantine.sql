-- What consumers gave up, one row per delivery: the QUARANTINE stream carries it here and forgets it after 30 days, the
-- row is what people list, look at and send again. Headers and body are the message's own, so they may be personal.
create table quarantine (
    tenant text not null,
    id text not null check (id ~ '^[0-9a-f]{32}$'),
    stream text not null,
    consumer text not null,
    subject text not null,
    sequence bigint not null,
    message_id text not null,
    headers jsonb not null check (jsonb_typeof(headers) = 'object'),
    body bytea not null,
    reason text not null check (reason in ('poisoned', 'exhausted', 'rejected', 'unspecified')),
    code text not null,
    detail text not null,
    attempts integer not null,
    at timestamptz not null,
    redriven_at timestamptz,
    redriven_count integer not null default 0,
    primary key (tenant, id),
    unique (tenant, stream, consumer, sequence, message_id)
);
select penstock.protect('quarantine');
create index quarantine_newest on quarantine (tenant, at desc, id desc);
