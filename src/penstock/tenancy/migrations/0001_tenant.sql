-- The directory of tenants. It has no `tenant` column and no row-level security: only this room's role reads it, and
-- every other room asks through a port.
create table tenant (
    id text primary key check (id ~ '^[a-z0-9]+(-[a-z0-9]+)*$' and length(id) <= 40),
    title text not null check (length(title) between 1 and 200),
    state text not null default 'active' check (state in ('active', 'suspended')),
    created_at timestamptz not null default now()
);
