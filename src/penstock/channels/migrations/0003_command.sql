-- What apps said, once per command, and what became of it.
--
-- A row is `sending` from before the platform is asked until its answer is stored: a row found in that state by another
-- holder than its own means that a process died in between and nobody knows what the platform got. `waiting` is open
-- too, but nobody is asking the platform. The other states are final, and no row leaves them.
--
-- Idempotent for ever, so rows stay. Their personal parts can go: erasing a person empties `body` of the commands
-- that answer their events (`cause_event_id`) or that speak in their own conversation.
create table command (
    tenant text not null,
    command_id text not null,
    channel text not null,
    account text not null,
    conversation text not null,
    app text not null,
    cause_event_id text not null,
    body bytea,
    -- SHA-256 of what is said and where; not of when it was asked or expires, which differ when a handler runs again.
    body_hash bytea not null,
    state text not null check (state in ('sending', 'waiting', 'sent', 'rejected', 'expired', 'unknown')),
    -- The process that holds an open row; the fence against one that was slow, not dead.
    holder text not null,
    -- How often the platform was asked, and how many of those times ended without anybody knowing how.
    attempts integer not null,
    ambiguities integer not null default 0,
    message_id text not null default '',
    code text not null default '',
    detail text not null default '',
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- The place in its account's stream of replies, for channels whose people read them from here (the terminal).
    sequence bigint,
    primary key (tenant, command_id)
);
create unique index command_by_sequence on command (tenant, account, sequence) where sequence is not null;
select penstock.protect('command');

-- The last sequence given out per account. A row and not a database sequence: its lock is held until the commit, so
-- that a reader who has seen number 7 will never find a 6 that was committed later.
create table reply_position (
    tenant text not null,
    account text not null,
    last bigint not null,
    primary key (tenant, account)
);
select penstock.protect('reply_position');
