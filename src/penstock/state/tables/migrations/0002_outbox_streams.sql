-- What a room's publisher knows of the streams that it fills, so that it notices what one has lost and sends it again.

-- Rows wait by stream: one that is away holds back nobody else's.
create index outbox_waiting_of_stream on outbox (stream, seq) where published_at is null and failed_at is null;
drop index outbox_waiting;

-- Finds what was published since a moment; rows of one time lie close together.
create index outbox_published on outbox using brin (published_at) with (pages_per_range = 32, autosummarize = on);

-- The head of each stream: the highest place that is known to be taken, and by what (a hash of the message id there).
create table outbox_stream (
    stream text primary key,
    created timestamptz not null,
    last_seq bigint not null check (last_seq >= 0),
    digest bytea not null,
    verified_at timestamptz not null default now()
);

-- Losses that were noticed. `targets` are the streams whose rows published since `since` (null: all that are kept) are
-- sent again; not finished means that they are still being taken up, and nothing leaves for these streams.
create table outbox_loss (
    number bigint generated always as identity primary key,
    stream text not null,
    why text not null check (why in ('recreated', 'shortened', 'replaced')),
    targets text[] not null,
    since timestamptz,
    noticed_at timestamptz not null default now(),
    refilled bigint not null default 0,
    finished_at timestamptz
);
create index outbox_loss_open on outbox_loss (number) where finished_at is null;

-- Both belong to the relay; the room may look.
do $$
declare grantee text;
begin
    for grantee in
        select distinct acl.grantee::regrole::text from pg_class as c, aclexplode(c.relacl) as acl
        where c.oid in ('outbox_stream'::regclass, 'outbox_loss'::regclass) and acl.grantee not in (0, c.relowner)
    loop
        execute format('revoke insert, update, delete on outbox_stream, outbox_loss from %s', grantee);
    end loop;
end $$;
grant select, insert, update on outbox_stream, outbox_loss to penstock_relay;
