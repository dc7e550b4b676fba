-- What a secret proves: `signing` that a request comes from the platform, `token` that a call of ours may be made. What is
-- there was made to sign; and so is what an earlier build adds while both run.
alter table account_secret
    add column kind text not null default 'signing' check (kind in ('signing', 'token'));
