-- Who was erased, so that a restored backup does not bring them back: under their pseudonym, and nothing that names them.
create table erasure (
    tenant text not null,
    person text not null check (person ~ '^erased-[0-9a-f]{32}$'),
    channel text not null,
    account text not null,
    -- What was received up to then is erased; what came later was said anew.
    until timestamptz not null,
    finished_at timestamptz,
    primary key (tenant, person)
);
select penstock.protect('erasure');

-- What pseudonyms are made with, per tenant and sealed: without it nobody can tell whether a pseudonym is somebody's.
create table pseudonym_key (
    tenant text primary key,
    sealed bytea not null,
    created_at timestamptz not null default now()
);
select penstock.protect('pseudonym_key');
