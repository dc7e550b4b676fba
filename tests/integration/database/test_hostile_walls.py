"""Somebody took a process over and has its login: what they try on the real Postgres, in every room, as every login.

Tables, rooms and roles are found in the catalogue and in the product's table of roles, so that a new table without a
wall, or a new role without a login, fails here.
"""

import asyncio

import psycopg
import pytest
from psycopg import errors, sql

from penstock.database import migrations, pool, roles, testing
from penstock.sealing import model, rekey, rekey_store
from penstock.servers import testing as servers
from tests.integration.database import stronghold

ME, THEM = stronghold.TENANTS
BIND = "select set_config('penstock.tenants', %s, false)"


@pytest.fixture(scope="module")
def hold(postgres_endpoint):
    with servers.temporary_folder() as folder, stronghold.prepared(postgres_endpoint, folder, asyncio.run) as made:
        yield made


@pytest.fixture(params=list(stronghold.everybody()), ids=lambda pair: f"{pair[0]} as {pair[1]}")
async def attacker(request, hold):
    """A session of each login as each role that it may become: the session, the login and the role."""
    login, role = request.param
    async with hold.connected(login, role) as connection:
        yield connection, login, role


async def refused(connection, statement, *, values=(), by=errors.InsufficientPrivilege):
    """The statement fails, and for want of a right."""
    with pytest.raises(by):
        await connection.execute(statement, values)


async def count(connection, table, where="true", values=()):
    rows = await connection.execute(sql.SQL("select 1 from {} where " + where).format(table.place), values)
    return len(await rows.fetchall())


def test_there_are_tables_with_rows_of_two_tenants(hold):
    rooms = {table.schema for table in hold.tables if table.has_tenant}
    assert {"channels", "sealing", "state"} <= rooms
    assert len([table for table in hold.tables if table.has_tenant]) > 6


async def test_the_tables_are_behind_the_wall(hold):
    await testing.check_tables(hold.admin_url)


async def test_another_rooms_tables_are_out_of_reach(attacker, hold):
    connection, _, role = attacker
    await connection.execute(BIND, (f"{{{ME},{THEM}}}",))
    tried = 0
    for table in hold.tables:
        if not stronghold.may_touch(role, table):
            for statement in ("select 1 from {}", "delete from {}", "truncate {}", "insert into {} default values"):
                await refused(connection, sql.SQL(statement).format(table.place))
                tried += 1
    assert tried > 10


async def test_another_tenants_rows_are_neither_seen_nor_changed_nor_made(attacker, hold):
    connection, _, role = attacker
    if role in roles.CROSSING:
        crossing_is_listed(role, hold)
        return
    await connection.execute(BIND, (f"{{{ME}}}",))
    for table in hold.tables:
        if table.has_tenant and stronghold.may_touch(role, table) and str(table) not in testing.OPEN_TABLES:
            assert await count(connection, table) == await count(connection, table, "tenant = %s", (ME,)) == 1, table
            for verb, statement in (
                ("update", "update {} set tenant = tenant where tenant = %s"),
                ("delete", "delete from {} where tenant = %s"),
            ):
                place = sql.SQL(statement).format(table.place)
                if stronghold.may(role, verb, table):
                    assert (await connection.execute(place, (THEM,))).rowcount == 0, table
                else:
                    await refused(connection, place, values=(THEM,))
            await refused(connection, sql.SQL("update {} set tenant = %s").format(table.place), values=(THEM,))
            made = sql.SQL("insert into {} (tenant) values (%s)").format(table.place)
            await refused(connection, made, values=(THEM,))


async def test_keys_are_destroyed_and_retired_by_the_operator_alone(attacker, hold):
    """Every table of the room that keeps keys: whoever was taken over may open and add, and no more."""
    connection, _, role = attacker
    keys = [table for table in hold.tables if table.schema == "sealing"]
    assert {str(table) for table in keys} == set(stronghold.KEYS[roles.REKEY]), "say what may be done to a new table"
    await connection.execute(BIND, (f"{{{ME},{THEM}}}",))
    for table in keys:
        statements = {
            "select": ("select 1 from {}",),
            "insert": ("insert into {} default values",),
            "update": ("update {} set {} = default", "select from {} for update", "select from {} for key share"),
            "delete": ("delete from {}", "delete from {} where false"),
            "own": (
                "truncate {}",
                "do $$ begin lock table {} in share mode; end $$",
                "alter table {} disable trigger all",
            ),
        }
        for verb, tried in statements.items():
            if not stronghold.may(role, verb, table) and not (role == roles.REKEY and verb == "own"):
                for statement in tried:
                    await refused(connection, sql.SQL(statement).format(table.place, sql.Identifier(_column(table))))


def _column(table):
    return "finished_at" if table.name == "rekey_run" else "kek_id" if table.has_tenant else "retired_at"


@pytest.mark.parametrize("login", ["inbound", "outbound"])
async def test_a_stolen_login_names_no_key_that_nobody_has_and_makes_no_newer_data_key(login, hold):
    """Either would stop every process: at its start, or as it seals a tenant's next value."""
    async with await psycopg.AsyncConnection.connect(hold.admin_url) as admin:
        # As it is in a database that some process has started on; rows were made without triggers here.
        await admin.execute(
            "update sealing.key_encryption_key set adopted = true, retired_at = null, emptied_at = null"
        )
        await admin.execute("update sealing.data_key set kek_id = (select id from sealing.key_encryption_key)")
    async with hold.connected(login, pool.role_of("sealing")) as connection:
        await connection.execute(BIND, (f"{{{ME},{THEM}}}",))
        named = sql.SQL("insert into sealing.key_encryption_key (id, proof) values ('deadbeef', '\\x00')")
        await refused(connection, named, by=errors.UniqueViolation)
        for column in ("adopted", "retired_at", "emptied_at", "first_used_at"):
            more = sql.SQL(
                "insert into sealing.key_encryption_key (id, proof, {}) values ('deadbeef', '\\x00', default)"
            )
            await refused(connection, more.format(sql.Identifier(column)))
        made = (
            "insert into sealing.data_key (tenant, purpose, generation, kek_id, wrapped) "
            "values (%s, %s, %s, %s, '\\x00') on conflict do nothing"
        )
        for tenant in (ME, THEM):
            await refused(connection, made, values=(tenant, "x", 2, ME))
            await refused(connection, made, values=(tenant, "new", 2, ME))
            await refused(connection, made, values=(tenant, "new", 1, "deadbeef"), by=errors.CheckViolation)
            replaced = await connection.execute(made, (tenant, "x", 1, ME))
            assert replaced.rowcount == 0


def crossing_is_listed(role, hold):
    """The relay and the rekeyer see all tenants, in the tables that are listed for that."""
    for table in hold.tables:
        if table.has_tenant and stronghold.may_touch(role, table):
            listed = testing.CROSSING[role] & {str(table), f"*.{table.name}"}
            assert listed or str(table) in testing.OPEN_TABLES, f"{role} reaches {table}"


async def test_of_what_was_given_up_the_relay_sees_whose_it_is_and_how_old_and_no_word(hold):
    async with hold.connected("state", roles.RELAY) as connection:
        seen = await (await connection.execute("select tenant, at from state.quarantine order by tenant")).fetchall()
        assert [row[0] for row in seen] == [ME, THEM]
        for statement in ("select * from state.quarantine", "select body from state.quarantine"):
            await refused(connection, statement)
        for statement in ("delete from state.quarantine", "update state.quarantine set at = now()"):
            await refused(connection, statement)


async def test_who_names_no_tenant_sees_nothing(attacker, hold):
    connection, _, role = attacker
    for names in (None, "", "{}", "{NULL}"):
        await connection.execute("reset penstock.tenants" if names is None else BIND, () if names is None else (names,))
        for table in hold.tables:
            walled = table.has_tenant and str(table) not in testing.OPEN_TABLES
            if walled and stronghold.may_touch(role, table) and role not in roles.CROSSING:
                assert await count(connection, table) == 0, table


async def test_what_a_stolen_login_can_do_is_bind_any_tenant_in_its_own_rooms(attacker, hold):
    """Said honestly: tenants are a setting of the transaction. The wall stops our mistakes, not a thief in the room."""
    connection, _, role = attacker
    for table in hold.tables:
        if table.has_tenant and stronghold.may_touch(role, table):
            async with connection.transaction():
                await connection.execute("select set_config('penstock.tenants', %s, true)", (f"{{{THEM}}}",))
                assert await count(connection, table, "tenant = %s", (THEM,)) == 1, table
    for table in hold.tables:
        if not stronghold.may_touch(role, table):
            await refused(connection, sql.SQL("select 1 from {}").format(table.place))


async def test_nobody_becomes_what_the_table_of_roles_does_not_list(attacker, hold):
    connection, login, _ = attacker
    mine = set(stronghold.becomes(login))
    found = await connection.execute("select rolname from pg_roles where rolname not like 'pg\\_%'")
    others = {name for (name,) in await found.fetchall()} - mine - {f"penstock_run_{login}"}
    assert {"postgres"} <= others
    for name in sorted(others):
        for statement in ("set role {}", "set session authorization {}", "grant {} to current_user"):
            await refused(connection, sql.SQL(statement).format(sql.Identifier(name)))
    await connection.execute("reset role")
    await connection.execute("reset session authorization")
    for table in hold.tables:
        if str(table) != "penstock.migration":
            await refused(connection, sql.SQL("select 1 from {}").format(table.place))


async def test_row_level_security_is_not_switched_off(attacker, hold):
    connection, _, role = attacker
    await connection.execute("set row_security = off")
    for table in hold.tables:
        place = table.place
        policies = ("alter policy tenant_bound on {} using (true)", "drop policy tenant_bound on {}")
        walled = table.has_tenant and str(table) not in testing.OPEN_TABLES
        if walled and stronghold.may_touch(role, table) and role not in roles.CROSSING:
            await refused(connection, sql.SQL("select 1 from {}").format(place))
        for statement in (
            *(policies if walled else ()),
            "alter table {} disable row level security",
            "alter table {} no force row level security",
            "alter table {} owner to current_user",
            "create policy open on {} using (true)",
            "create trigger spy before insert on {} execute function pg_catalog.suppress_redundant_updates_trigger()",
            "create rule spy as on insert to {} do also notify spy",
            "drop table {}",
        ):
            await refused(connection, sql.SQL(statement).format(place))


HOSTILE = {
    "make a function": "create function {room}.f() returns int language sql as 'select 1'",
    "make a definer's function": "create function public.f() returns int language sql security definer as 'select 1'",
    "make a table": "create table {room}.t (a int)",
    "make a table that hides another": "create temp table account (a int)",
    "make a view": "create view public.v as select 1",
    "make a schema": "create schema mine",
    "make a role": "create role mine superuser login",
    "become a superuser": "alter role current_user superuser",
    "bind a tenant for ever": "alter role session_user set penstock.tenants = '{globex}'",
    "bind one for everybody": "alter role all set penstock.tenants = '{globex}'",
    "see through walls": "alter role current_user bypassrls",
    "load an extension": "create extension dblink",
    "load another": "create extension vector",
    "load a language": "create extension plpython3u",
    "load a library": "load '/tmp/evil.so'",
    "run a program": "copy (select 1) to program 'true'",
    "read from a program": "copy penstock.migration from program 'true'",
    "write a file": "copy (select 1) to '/tmp/penstock-out'",
    "read a file": "select pg_read_file('/etc/passwd')",
    "list a folder": "select pg_ls_dir('/')",
    "read the configuration": "select pg_read_file('pg_hba.conf')",
    "read rules of login": "select * from pg_hba_file_rules",
    "read password verifiers": "select rolpassword from pg_authid",
    "read them otherwise": "select * from pg_shadow",
    "read statistics of columns": "select * from pg_statistic",
    "set the server up": "alter system set log_statement = 'all'",
    "read what others say": "set log_statement = 'all'",
    "reload": "select pg_reload_conf()",
    "keep a large object": "select lo_create(0)",
    "keep another": "select lo_from_bytea(0, 'x')",
    "take a file in": "select lo_import('/etc/passwd')",
    "let one out": "select lo_export(1, '/tmp/x')",
    "wall a table anew": "select penstock.protect('penstock.migration')",
    "open a table": "select penstock.open_to_relay('penstock.migration')",
    "write to the list of migrations": "insert into penstock.migration values ('a', 'b', 'c', now(), 'd')",
    "forget a migration": "delete from penstock.migration",
    "connect elsewhere": "create server s foreign data wrapper f",
    "publish": "create publication p for all tables",
    "replicate": "select pg_create_physical_replication_slot('s')",
    "default privileges for another": "alter default privileges for role postgres grant all on tables to public",
    "hide in a transaction": "do $$ begin execute 'set role postgres'; end $$",
    "end others": "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'postgres'",
    "walk into the catalogue": "update pg_policy set polqual = null",
    "see the replication's secrets": "select subconninfo from pg_subscription",
}
_OTHERWISE = {
    # The extension's files are not there, which is looked at before the right to load it.
    "load an extension": (errors.FeatureNotSupported,),
    "load a language": (errors.FeatureNotSupported,),
    "connect elsewhere": (errors.UndefinedObject,),
    # There is no schema in which it could be made, which is looked at first.
    "load another": (errors.InvalidSchemaName,),
}


async def test_every_hostile_statement_is_refused(attacker):
    connection, _, role = attacker
    for what, statement in HOSTILE.items():
        try:
            await connection.execute(statement.replace("{room}", _room(role)))
        except (errors.InsufficientPrivilege, *_OTHERWISE.get(what, ())):
            continue
        pytest.fail(f"{role} may {what}")


def _room(role):
    return "channels" if role in roles.CROSSING else role.removeprefix("penstock_")


async def test_others_statements_are_not_readable(attacker, hold):
    connection, _, _ = attacker
    async with await psycopg.AsyncConnection.connect(hold.admin_url) as admin:
        await admin.execute("select 'a statement of the administrator'")
        rows = await connection.execute("select query from pg_stat_activity where usename = 'postgres'")
        assert {row[0] for row in await rows.fetchall()} <= {"<insufficient privilege>", ""}


async def test_our_functions_are_no_way_in(hold):
    """What runs with its owner's rights says where it looks names up, and is granted to nobody in general."""
    async with await psycopg.AsyncConnection.connect(hold.admin_url) as admin:
        found = await admin.execute(
            "select p.oid::regprocedure::text, p.prosecdef, p.proconfig, coalesce(p.proacl::text, '{=X}') "
            "from pg_proc as p where p.pronamespace::regnamespace::text !~ '^(pg_|information_schema$)' "
            "and not exists (select from pg_depend as d where d.objid = p.oid and d.deptype = 'e')"
        )
        ours = await found.fetchall()
    assert len(ours) >= 4
    for name, definer, config, granted in ours:
        # An entry without a name before "=" is everybody's.
        assert not any(entry.startswith("=") for entry in granted.strip("{}").split(",")), name
        if definer:
            [path] = [line for line in config or [] if line.startswith("search_path=")]
            names = [part.strip() for part in path.partition("=")[2].split(",")]
            assert names[-1] == "pg_temp", f"{name} looks into what its caller made first: {names}"


async def test_a_search_path_of_the_callers_changes_nothing(hold):
    async with hold.connected("inbound", roles.RELAY) as connection:
        await connection.execute("set search_path = pg_temp, public, channels")
        made = await (await connection.execute("select channels.outbox_prepare(14)")).fetchone()
        swept = await (await connection.execute("select channels.outbox_sweep(30000)")).fetchone()
    assert (made, swept) == ((0,), ([],))


async def test_an_advisory_lock_delays_migrations_and_breaks_nothing(hold, monkeypatch):
    """Said honestly: locks by number are anybody's. Who may connect may make a migration wait, and it says so."""
    monkeypatch.setattr(migrations, "_LOCK_WAIT", "200ms")
    async with hold.connected("state") as connection:
        await connection.execute("select pg_advisory_lock(%s)", (migrations._LOCK,))
        with pytest.raises(migrations.errors.Unavailable) as raised:
            await migrations.migrate(hold.admin_url, [])
    assert raised.value.code == "migrating"
    assert await migrations.migrate(hold.admin_url, []) == []


async def test_an_advisory_lock_keeps_the_operator_from_replacing_keys_and_harms_none(hold):
    """The same, of `secret rekey`: it says that another process is at it, and does nothing."""
    database = pool.Database(hold.urls["operator"], application="test", size=1)
    store = await rekey_store.connected(database)
    rekeyer = rekey.Rekey(store, model.KeyRing(model.KeyEncryptionKey(b"k" * 32)), [])
    try:
        async with hold.connected("state") as connection:
            await connection.execute("select pg_advisory_lock(hashtextextended(%s, 0))", (rekey_store._LOCK,))
            with pytest.raises(migrations.errors.Rejected) as raised:
                await rekeyer.run(data_keys=False)
        assert raised.value.code == "rekey_running"
    finally:
        store.close()
        await database.close()


async def test_everybody_may_listen_and_hears_ids_only(hold):
    """A channel knows no rights: what is said there is what may be known by every login."""
    async with hold.connected("state") as spy, hold.connected("inbound", pool.role_of("channels")) as other:
        await spy.execute("listen penstock_changed")
        await other.execute("notify penstock_changed, 'acme'")
        heard = [note.payload async for note in spy.notifies(timeout=20, stop_after=1)]
    assert heard == ["acme"]


async def test_who_has_no_login_here_does_not_come_in(hold, postgres_endpoint):
    """The shared server's other logins: the database is closed to whoever was not let in."""
    async with await psycopg.AsyncConnection.connect(hold.admin_url, autocommit=True) as admin:
        await admin.execute("drop role if exists penstock_stranger")
        await admin.execute("create role penstock_stranger login password 'theirs'")
        try:
            name = admin.info.dbname
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                await psycopg.AsyncConnection.connect(
                    postgres_endpoint.url(user="penstock_stranger", password="theirs", dbname=name)
                )
        finally:
            await admin.execute("drop role penstock_stranger")
