"""The table of roles: what a name means, and that every role says what it is for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.app import roles, schema, up
from penstock.base import errors

NAMES = [role.name for role in roles.ROLES]


def chosen(*names):
    return [role.name for role in roles.select(names)]


def test_a_group_means_its_members():
    assert chosen("channels") == ["inbound", "outbound"]
    assert chosen("all") == NAMES
    assert chosen(*up.ROLES) == NAMES, "`up` runs everything"


@given(st.lists(st.sampled_from([*NAMES, *roles.GROUPS])))
def test_law_order_and_repetition_do_not_matter(names):
    found = chosen(*names)
    assert found == [name for name in NAMES if name in found]
    assert found == chosen(*reversed(names), *names)


@pytest.mark.parametrize("name", ["nosuch", "", "Inbound", "inbound,outbound", "../..", "*"])
def test_an_unknown_name_is_refused_with_those_that_are_known(name):
    with pytest.raises(errors.Rejected) as refused:
        roles.select(["inbound", name])
    assert (refused.value.code, refused.value.field) == ("unknown_role", "role")
    assert all(known in refused.value.hint for known in NAMES)


def test_every_group_holds_roles_and_every_role_says_what_it_means():
    assert {name for group in roles.GROUPS.values() for name in group} <= set(NAMES)
    assert not set(NAMES) & set(roles.GROUPS)
    assert all(role.meaning for role in roles.ROLES)


def test_every_role_says_which_rooms_it_touches_and_only_those_that_open_secrets_need_a_key():
    rooms = {each.room for each in schema.rooms()}
    for role in roles.ROLES:
        assert role.rooms, role.name
        assert set(role.rooms) <= rooms, role.name
    assert {role.name for role in roles.ROLES if role.seals} == {"inbound", "outbound"}
