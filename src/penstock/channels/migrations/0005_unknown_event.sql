-- Verified events of kinds that this build does not know, as they came: so that nothing is dropped silently, and that a
-- later build, or a person, may read them. Once per event, whatever else its platform repeats.
--
-- `body` may hold what people said. Of a larger event it is the beginning, and `size_bytes` says how much there was;
-- erasing a person empties it.
create table unknown_event (
    tenant text not null,
    account text not null,
    event_id text not null,
    kind text not null check (length(kind) between 1 and 200),
    body bytea not null check (length(body) <= 524288),
    size_bytes integer not null,
    received_at timestamptz not null,
    primary key (tenant, account, event_id)
);
create index unknown_event_by_time on unknown_event (tenant, received_at desc, account, event_id);
select penstock.protect('unknown_event');
