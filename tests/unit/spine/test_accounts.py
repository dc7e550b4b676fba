"""The accounts block: what stands in it is what was meant, whatever a password or a name looks like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.spine import access, accounts

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
slugs = st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,6})?", fullmatch=True)
words = st.text(st.characters(min_codepoint=9, max_codepoint=126), max_size=40)


def read(quoted: str) -> str:
    """A string as nats-server's lexer reads it (conf/lex.go, `lexDubQuotedString` and `replaceEscapes`)."""
    assert quoted[0] == quoted[-1] == '"'
    assert "\n" not in quoted
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "r": "\r", "t": "\t"}.get(m[1], m[1]), quoted[1:-1])


@given(words)
def test_a_quoted_word_is_read_as_it_was(word):
    try:
        quoted = accounts.quoted(word)
    except errors.Rejected:
        assert word.startswith("$2") or not all(char.isprintable() or char in "\n\r\t" for char in word)
        return
    assert len(_TOKEN.findall(quoted)) == 1
    assert read(quoted) == word


@given(st.lists(slugs, unique=True, max_size=4), st.text(st.sampled_from('"\\{}[]#$\n\t x:,='), max_size=20))
def test_nothing_escapes_its_quotes(tenants, nasty):
    """However a password is made up, the block has the braces and the accounts that it has without one."""
    made = [access.of_tenant(tenant, ["echo"]) for tenant in tenants]

    def shape(password: str) -> list[str]:
        text = accounts.render("penstock", made, lambda _: accounts.quoted(password))
        return [token for token in _TOKEN.findall(text) if token != accounts.quoted(password)]

    assert shape(f"p{nasty}") == shape("plain-password-of-nobody")


@pytest.mark.parametrize("word", ["$2a$10$abc", "$2", "é", "\x00", "a\x7f", "\N{ZERO WIDTH SPACE}", "\x1b[2J"])
def test_what_the_server_would_read_otherwise_is_refused(word):
    with pytest.raises(errors.Rejected, match="bad_account"):
        accounts.quoted(word)


@given(st.lists(slugs, unique=True, min_size=2, max_size=5))
def test_no_two_logins_have_one_variable(tenants):
    logins = ["penstock", *(access.of_tenant(tenant).login for tenant in tenants)]
    logins += [role.login for role in access.ROLES.values()]
    assert len({accounts.variable(login) for login in logins}) == len(logins)
    assert all(re.fullmatch(r"\$[A-Z0-9_]+", accounts.variable(login)) for login in logins)


def test_the_owner_is_not_one_of_the_others():
    with pytest.raises(errors.Rejected, match="twin_account"):
        accounts.render("apps-acme", [access.of_tenant("acme")], accounts.variable)


def test_without_anybody_else_there_is_the_owner():
    assert accounts.render("penstock", [], accounts.variable) == (
        "accounts {\n  PENSTOCK {\n    jetstream: enabled\n"
        '    users: [{ user: "penstock", password: $PENSTOCK_PENSTOCK_PASSWORD }]\n  }\n}\n'
    )


def test_one_tenant_cannot_use_up_the_servers_connections():
    text = accounts.render("penstock", [access.of_tenant("acme"), *access.ROLES.values()], accounts.variable)
    assert text.count("limits: { max_connections: 1024, max_subscriptions: 50000 }") == 1
