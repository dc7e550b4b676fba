"""The table of accounts: whatever a tenant or an app is called, nothing of one account is another's."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors, ids
from penstock.spine import access, consumer, stream

slugs = st.from_regex(r"[a-z0-9]{1,12}(-[a-z0-9]{1,6})?", fullmatch=True)


@given(st.lists(st.tuples(slugs, st.lists(slugs, max_size=3)), min_size=2, max_size=4, unique_by=lambda one: one[0]))
def test_no_subject_is_of_two_tenants(tenants):
    accounts = [access.of_tenant(tenant, apps) for tenant, apps in tenants]
    assert len({account.name for account in accounts}) == len({account.login for account in accounts}) == len(accounts)
    for one in accounts:
        for other in accounts:
            for mine in one.imports:
                assert one is other or not any(
                    stream.covers(mine.subject, theirs.subject) or stream.covers(theirs.subject, mine.subject)
                    for theirs in other.imports
                )


@given(slugs, st.lists(slugs, max_size=3))
def test_every_import_is_of_its_tenant_and_within_its_export(tenant, apps):
    account = access.of_tenant(tenant, apps)
    marks = {tenant, *(f"app_{tenant}_{app}" for app in apps)}
    marks |= {f"app_{tenant}_{app}_r{number}" for app in apps for number in range(consumer.RANGES)}
    for each in account.imports:
        assert stream.covers(each.export.subject, each.subject)
        assert marks & set(each.subject.split(".")), each


@given(st.text(max_size=60))
def test_a_name_that_is_no_slug_has_no_account(name):
    try:
        ids.slug(name, "tenant")
    except errors.Rejected:
        with pytest.raises(errors.Rejected):
            access.of_tenant(name)
        with pytest.raises(errors.Rejected):
            access.of_tenant("acme", [name])


@pytest.mark.parametrize("account", [access.of_tenant("acme", ["echo"])], ids=["apps"])
def test_an_app_imports_nothing_that_reads_or_makes_by_what_a_body_says(account):
    """An API is harmless only if its subject alone says what it is about: pulling from one durable."""
    apis = {each.subject.split(".", 2)[2].rsplit(".", 2)[0] for each in account.imports if "$JS.API" in each.subject}
    assert apis == {"CONSUMER.MSG.NEXT"}
    assert not any(each.subject.startswith(("$KV.", "$O.", "$JS.EVENT", "$SYS.")) for each in account.imports)
    wild = [each.subject for each in account.imports if "*" in each.subject or ">" in each.subject]
    assert all(subject.startswith(("tenant.acme.", "$JS.ACK.", "penstock.")) for subject in wild)


@pytest.mark.parametrize("role", access.ROLES.values(), ids=access.ROLES)
def test_a_role_makes_changes_and_deletes_nothing(role):
    for each in role.imports:
        assert not any(word in each.subject for word in ("DELETE", "PURGE", "UPDATE", "CREATE", "SNAPSHOT"))
        assert stream.covers(each.export.subject, each.subject)


def test_every_export_names_those_who_may_import_it():
    acme, globex = access.of_tenant("acme", ["echo"]), access.of_tenant("globex")
    exported = access.exports([acme, globex, *access.ROLES.values()])
    assert exported[access.SEND] == ("APPS_acme", "APPS_globex")
    assert exported[access.PULL] == ("APPS_acme",)
    assert {export for export in exported if export.many} == {
        access.PULL,
        access.Export("$JS.API.CONSUMER.MSG.NEXT.MESSAGES_OUTBOUND.*", many=True),
    }


def test_twins_are_refused():
    acme = access.of_tenant("acme")
    for twin in (acme, dataclasses.replace(acme, login="other"), dataclasses.replace(acme, name="OTHER")):
        with pytest.raises(errors.Rejected, match="twin_account"):
            access.exports([acme, twin])
    with pytest.raises(errors.Rejected, match="twin_account"):
        access.exports([dataclasses.replace(acme, name=access.OWNER)])
