-- What people said, once per event: the proof that an event was stored before its platform heard "200".
--
-- One plain table, not one partition a day: a partitioned table can only be unique within a partition, and a platform
-- that repeats an event after midnight must find the first one. Retention deletes slices by `received_at` (hence the
-- block-range index, which costs the insert next to nothing).
--
-- The person who spoke is `sender`, as the platform names them, within (tenant, account). Erasing a person empties
-- `sender` and `body` of their rows; `event_id` and `body_hash` stay, so that a repeated event stays a repetition.
create table message (
    tenant text not null,
    account text not null,
    event_id text not null,
    conversation text not null,
    sender text not null,
    body bytea,
    -- SHA-256 of the Message without `received_at`, which differs between two deliveries of one event.
    body_hash bytea not null,
    received_at timestamptz not null,
    primary key (tenant, account, event_id)
);
create index message_by_time on message using brin (received_at);
select penstock.protect('message');
