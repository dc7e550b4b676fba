-- What the keeper saw of each stream and of its durables, so that what a stream loses can be sent again, from the oldest
-- floor on, to durables that are made again first. A stream that loses something begins another life; what was known
-- of the one before stays for a while as it was.
create table stream_life (
    stream text not null,
    life bigint not null,
    created timestamptz not null,
    last_seq bigint not null,
    digest bytea not null,
    began_at timestamptz not null default now(),
    looked_at timestamptz not null,
    ended_at timestamptz,
    primary key (stream, life)
);

-- Everything stored before `floor_at` is settled. `policy` is what the durable is made again from; null for a stranger's.
create table durable (
    stream text not null,
    life bigint not null,
    name text not null,
    policy jsonb check (jsonb_typeof(policy) = 'object'),
    floor_seq bigint not null,
    floor_at timestamptz not null,
    primary key (stream, life, name),
    foreign key (stream, life) references stream_life on delete cascade
);

-- The oldest floor of a stream as it was once a minute: what was handled after a moment, and not only stored.
create table floor_mark (
    stream text not null,
    at timestamptz not null,
    oldest_at timestamptz not null,
    primary key (stream, at)
);

grant select on stream_life, durable, floor_mark to penstock_relay;
