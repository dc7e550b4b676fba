-- Each room's copy of the outbox: rows wait here, committed with what they tell of, until the publisher has seen them
-- acknowledged. One partition per day, so that what is done with is dropped and never deleted row by row.
create table outbox (
    seq bigint generated always as identity,
    created_day date not null default (now() at time zone 'utc')::date,
    tenant text not null,
    partition smallint not null check (partition between 0 and 63),
    key text not null,
    stream text not null,
    subject text not null,
    message_id text not null,
    headers jsonb not null,
    body bytea not null,
    created_at timestamptz not null default now(),
    published_at timestamptz,
    stream_created timestamptz,
    stream_seq bigint,
    failed_at timestamptz,
    failure text,
    primary key (created_day, seq)
) partition by range (created_day);

create index outbox_waiting on outbox (seq) where published_at is null and failed_at is null;

select penstock.protect('outbox');
select penstock.open_to_relay('outbox');

-- Makes the partitions of today and the next days. A partition is attached, not created in place, so that appends go on
-- meanwhile; and nobody but the owner may reach one directly, past the wall of its parent.
create function outbox_prepare(ahead integer) returns integer
    language plpgsql security definer set search_path from current as $$
declare
    today constant date := (now() at time zone 'utc')::date;
    day date;
    name text;
    grantee text;
    made integer := 0;
begin
    perform pg_advisory_xact_lock(hashtextextended('outbox_prepare ' || 'outbox'::regclass::oid, 0));
    for day in select generate_series(today, today + ahead, '1 day')::date loop
        name := 'outbox_' || to_char(day, 'YYYYMMDD');
        continue when to_regclass(name) is not null;
        execute format('create table %I (like outbox including all excluding identity)', name);
        execute format('alter table %I enable row level security', name);
        for grantee in
            select distinct acl.grantee::regrole::text from pg_class as c, aclexplode(c.relacl) as acl
            where c.oid = name::regclass and acl.grantee not in (0, c.relowner)
        loop
            execute format('revoke all on %I from %s', name, grantee);
        end loop;
        execute format('alter table outbox attach partition %I for values from (%L) to (%L)', name, day, day + 1);
        made := made + 1;
    end loop;
    return made;
end $$;

-- Drops the partitions that are older than `keep` days and hold nothing but published rows; returns their names. The
-- lock comes before the look: no transaction that began on that day can still add a row afterwards.
create function outbox_sweep(keep integer) returns text[]
    language plpgsql security definer set search_path from current as $$
declare
    oldest constant date := (now() at time zone 'utc')::date - keep;
    name text;
    waits boolean;
    dropped text[] := '{}';
begin
    for name in
        select c.relname from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'outbox'::regclass and c.relname < 'outbox_' || to_char(oldest, 'YYYYMMDD')
        order by c.relname
    loop
        execute format('lock table %I in access exclusive mode', name);
        execute format('select exists (select from %I where published_at is null)', name) into waits;
        if not waits then
            execute format('drop table %I', name);
            dropped := dropped || name;
        end if;
    end loop;
    return dropped;
end $$;

revoke execute on function outbox_prepare(integer), outbox_sweep(integer) from public;
grant execute on function outbox_prepare(integer), outbox_sweep(integer) to penstock_relay;

select outbox_prepare(14);
