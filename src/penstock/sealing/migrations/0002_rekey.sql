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
