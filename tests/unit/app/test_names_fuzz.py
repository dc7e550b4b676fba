"""Whatever a tenant or a login is called: its files stay in their folder, and its database's address says the same."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from psycopg import conninfo

from penstock.app import logins, schema
from penstock.base import errors, ids, settings
from penstock.database import logins as database_logins
from penstock.database import pool
from penstock.sdk import connection
from penstock.sealing import model as sealing
from penstock.servers import endpoints, nats
from penstock.state import erasures
from tests.unit import names

WHERE = endpoints.NatsEndpoint(url="nats://127.0.0.1:4222", monitor_url="", user="u", password="p")


@profile(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=names.names)
def test_law_a_logins_file_is_in_its_folder_and_its_own(name: str, tmp_path: Path) -> None:
    kept = logins.LoginFiles(tmp_path / "deep" / "apps", {})
    before = {each for each in tmp_path.rglob("*") if each.is_file()}
    try:
        kept.leave(name, WHERE)
    except errors.Rejected:
        assert {each for each in tmp_path.rglob("*") if each.is_file()} == before
        return
    [left] = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert left == tmp_path / "deep" / "apps" / f"{name}.json"
    kept.keep_only([])


@profile(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(name=names.names)
def test_law_an_app_reads_its_tenants_login_and_no_other_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "apps").mkdir(exist_ok=True)
    for place in (tmp_path / "loot.json", tmp_path / "apps" / ".json"):
        place.write_text('{"nats_url": "nats://loot", "nats_user": "", "nats_password": ""}')
    with pytest.raises((errors.Rejected, errors.Unavailable)):
        connection.find({"PENSTOCK_LOGINS": str(tmp_path / "apps")}, ids.TenantId(name))


@pytest.mark.parametrize("name", ["../loot", "..\\loot", "/etc/loot", "", ".", "a/../../loot"])
def test_a_tenant_that_is_a_path_has_no_login(name: str, tmp_path: Path) -> None:
    (tmp_path / "loot.json").write_text('{"nats_url": "nats://loot", "nats_user": "", "nats_password": ""}')
    (tmp_path / "apps").mkdir()
    with pytest.raises(errors.Rejected):
        connection.find({"PENSTOCK_LOGINS": str(tmp_path / "apps")}, ids.TenantId(name))
    with pytest.raises(errors.Rejected):
        logins.LoginFiles(tmp_path / "apps", {}).leave(name, WHERE)


@given(names.names, names.names, names.names)
def test_law_a_database_address_says_what_it_was_made_of(database: str, login: str, password: str) -> None:
    """`Password=` in a login's name, a slash, a quote: nothing of one part is read as another."""
    if not login or "\0" in database + login + password:
        return
    admin = conninfo.make_conninfo(dbname=database or "postgres", user="admin", password="x", host="/run/a b")
    url = database_logins.url_as(admin, login, settings.Secret(password))
    wanted = {"user": login, "password": password, "dbname": database or "postgres", "host": "/run/a b"}
    read = conninfo.conninfo_to_dict(url)
    assert {name: value for name, value in read.items() if value} == {
        name: text for name, text in wanted.items() if text
    }
    assert url.isascii()
    assert not set(url) & set(" \n\r\t\"'\\")


def test_every_room_is_a_name_of_sql_and_no_other_is() -> None:
    for room in schema.rooms():
        assert pool.role_of(room.room) == f"penstock_{room.room}"
        assert room.room.isidentifier()
    assert set(schema.OUTBOXES) <= {room.room for room in schema.rooms()}


@given(names.names)
def test_law_a_rooms_role_is_one_identifier(room: str) -> None:
    try:
        role = pool.role_of(room)
    except errors.Broken:
        return
    assert role == f"penstock_{room}"
    assert role.isascii()
    assert role.isidentifier()
    assert role == role.lower()


@given(names.tuples(3))
def test_law_a_sealed_value_is_bound_to_one_place(pair: tuple[tuple[str, str, str], tuple[str, str, str]]) -> None:
    one, other = (sealing.Place(*parts).associated(1) for parts in pair)
    assert (one == other) == (pair[0] == pair[1])


@given(names.tuples(4))
def test_law_two_people_share_no_pseudonym(pair: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    def called(parts: tuple[str, ...]) -> set[str]:
        tenant, channel, account, sender = parts
        known = erasures.Pseudonyms(ids.TenantId(tenant), b"k" * 32)
        person = names.built(known.person, (channel, account, sender))
        room = known.conversation(channel, account, sender)
        return {room} if person is None else {room, person.pseudonym}

    one, other = map(called, pair)
    assert bool(one & other) == (pair[0] == pair[1])
    assert len(one) == 1 + bool(names.built(erasures.Pseudonyms(ids.TenantId("a"), b"k").person, pair[0][1:]))


@given(names.names)
def test_law_a_folder_is_one_word_of_the_servers_configuration(folder: str) -> None:
    """Read back as nats-server's lexer reads it: a quote ends the word unless a backslash stands before it."""
    word = nats._quoted(os.fspath(folder))
    assert word[0] == word[-1] == '"'
    read, inside = "", iter(word[1:-1])
    for character in inside:
        assert character != '"'
        read += next(inside) if character == "\\" else character
    assert read == folder
