-- One data key per tenant and purpose, readable only with a key-encryption key that is never in this database. Deleting
-- a row makes everything sealed with it unreadable, in backups too once they expire.
create table data_key (
    tenant text not null,
    purpose text not null check (length(purpose) between 1 and 128),
    generation integer not null check (generation > 0),
    kek_id text not null check (kek_id ~ '^[0-9a-f]{8}$'),
    wrapped bytea not null,
    created_at timestamptz not null default now(),
    primary key (tenant, purpose, generation)
);
select penstock.protect('data_key');

-- Which key-encryption keys this database depends on, so that a process with a wrong one says so when it starts. Names
-- of keys, of nobody: no tenant, no wall.
create table key_encryption_key (
    id text primary key check (id ~ '^[0-9a-f]{8}$'),
    first_used_at timestamptz not null default now()
);
