-- Where people talk: a tenant's accounts on channels, and the secrets that their platforms sign with.

create table account (
    tenant text not null,
    id text not null check (id ~ '^[A-Za-z0-9_-]{1,128}$'),
    channel text not null,
    name text not null check (length(name) between 1 and 200),
    config jsonb not null default '{}' check (jsonb_typeof(config) = 'object'),
    created_at timestamptz not null default now(),
    disabled_at timestamptz,
    primary key (tenant, id),
    unique (tenant, name)
);
select penstock.protect('account');

-- A webhook names an account and no tenant, so something must say whose it is before a tenant can be bound. This table
-- is that and nothing more: it has no row-level security, and holds nothing but unguessable ids.
create table account_directory (
    id text primary key,
    tenant text not null,
    channel text not null,
    foreign key (tenant, id) references account (tenant, id) on delete cascade
);

-- At most two are live (the service sees to it under the account's row lock), so that one can be rotated without a gap.
-- Retiring a secret forgets it: what was leaked is of no use to anybody.
create table account_secret (
    tenant text not null,
    account text not null,
    id text not null,
    sealed bytea,
    created_at timestamptz not null default now(),
    retired_at timestamptz,
    primary key (tenant, account, id),
    foreign key (tenant, account) references account (tenant, id) on delete cascade,
    check ((retired_at is null) = (sealed is not null))
);
select penstock.protect('account_secret');
