-- Key-encryption keys that are replaced while everything runs, and that may be kept by a service far away.

-- A service names its keys by a path.
alter table data_key drop constraint data_key_kek_id_check;
alter table data_key add constraint data_key_kek_id_check check (kek_id ~ '^[A-Za-z0-9][A-Za-z0-9:/_.-]{0,199}$');
alter table key_encryption_key drop constraint key_encryption_key_id_check;
alter table key_encryption_key add constraint key_encryption_key_id_check
    check (id ~ '^[A-Za-z0-9][A-Za-z0-9:/_.-]{0,199}$');

-- Retired: nothing new is wrapped under it, whatever a process with older settings wants. Emptied: nothing is wrapped
-- under it any more, so no process needs it.
alter table key_encryption_key add column retired_at timestamptz, add column emptied_at timestamptz;
alter table key_encryption_key add check (emptied_at is null or retired_at is not null);

-- A name is no proof of a key: another server may have one of that name. So a known value is wrapped under each, and
-- opened by every process as it starts. Keys from before have none, and need none: their id is the key's digest.
alter table key_encryption_key add column proof bytea;
alter table key_encryption_key add constraint key_encryption_key_proof
    check (proof is not null or id ~ '^[0-9a-f]{8}$');

-- Adopted: by the first process that ever started. There is one such key at most, so that whoever has an ordinary login
-- cannot name one that nobody holds, which would let no process start again. Others come with `secret rekey`.
alter table key_encryption_key add column adopted boolean not null default false;
update key_encryption_key set adopted = true
    where id = (select id from key_encryption_key order by first_used_at, id limit 1);
alter table key_encryption_key alter column adopted set default true;
create unique index key_encryption_key_adopted on key_encryption_key (adopted) where adopted;

-- Nothing is wrapped under a key that is retired, or that nobody adopted. The key's row is held until the end of the
-- transaction, so that it is not retired in between; who wraps may not lock it otherwise. After the row: the walls of its
-- tenant come first.
create function wrapped_under_live_key() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform from sealing.key_encryption_key where id = new.kek_id and retired_at is null for share;
    if not found then
        raise check_violation using
            constraint = 'data_key_not_retired', table = 'data_key', message = 'nothing new is wrapped under this key';
    end if;
    return null;
end $$;
revoke execute on function wrapped_under_live_key() from public;
create trigger wrapped_under_live_key after insert or update of kek_id on data_key
    for each row execute function wrapped_under_live_key();

-- One row per `secret rekey`, so that a second call goes on where the first one was killed. Of nobody: no tenant.
create table rekey_run (
    id bigint generated always as identity primary key,
    kek_id text not null references key_encryption_key (id),
    data_keys boolean not null,
    begun_at timestamptz not null default now(),
    finished_at timestamptz
);
create unique index rekey_run_open on rekey_run ((true)) where finished_at is null;

-- Data keys are wrapped anew across tenants by one role that can do nothing else. No process that takes requests may
-- become it.
grant usage on schema sealing to penstock_rekey;
grant select, insert, update, delete on data_key to penstock_rekey;
grant select, insert, update on key_encryption_key, rekey_run to penstock_rekey;
create policy rekey on data_key to penstock_rekey using (true) with check (true);

-- And processes that take requests do nothing but open, and make a tenant's first data key: one that was taken over can
-- destroy no key.
revoke update, delete on data_key from penstock_sealing;
create policy first_generation on data_key as restrictive for insert to penstock_sealing with check (generation = 1);
revoke all on key_encryption_key, rekey_run from penstock_sealing;
grant select, insert (id, proof) on key_encryption_key to penstock_sealing;
