-- What every database of ours holds before the first room: the list of applied migrations, the relay's role, and the
-- functions that migrations call to put a table behind the tenant wall. Run again by every build; so only additions.
create schema if not exists penstock;
grant usage on schema penstock to public;

create table if not exists penstock.migration (
    room text not null,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now(),
    build text not null,
    primary key (room, name)
);
grant select on penstock.migration to public;

-- Outboxes are emptied across tenants by one role that can do nothing else, and data keys are wrapped anew by another.
do $$
declare name text;
begin
    foreach name in array array['penstock_relay', 'penstock_rekey'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null;  -- another database of this server was faster; roles belong to the server
            end;
        end if;
    end loop;
end $$;

-- The cast stands outside of the subselect: inside, ANY would compare with a set of arrays. A local setting leaves an
-- empty text behind, hence the nullif: unset sees nothing.
-- Rows of `target` are seen and written by transactions bound to their tenant only; its owner is no exception.
create or replace function penstock.protect(target regclass) returns void language plpgsql as $$
begin
    execute format('alter table %s enable row level security', target);
    execute format('alter table %s force row level security', target);
    execute format(
        'create policy tenant_bound on %s to public '
        'using (tenant = any ((select nullif(current_setting(''penstock.tenants'', true), ''''))::text[])) '
        'with check (tenant = any ((select nullif(current_setting(''penstock.tenants'', true), ''''))::text[]))',
        target);
end $$;

-- The relay reads and updates rows of every tenant in `target`, and inserts none.
create or replace function penstock.open_to_relay(target regclass) returns void language plpgsql as $$
begin
    execute format('grant select, update on %s to penstock_relay', target);
    execute format('create policy relay on %s to penstock_relay using (true) with check (true)', target);
end $$;

revoke execute on function penstock.protect(regclass), penstock.open_to_relay(regclass) from public;
