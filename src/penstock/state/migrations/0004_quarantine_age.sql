-- Whose quarantine holds something old: all that retention must know across tenants. Rows are removed tenant by tenant.
grant select (tenant, at) on quarantine to penstock_relay;
create policy relay on quarantine for select to penstock_relay using (true);
