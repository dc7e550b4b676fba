"""Which reaction each failure of Postgres asks for."""

import pytest

from penstock.base import errors
from penstock.database import failure


@pytest.mark.parametrize(
    ("state", "kind", "code"),
    [
        ("", errors.Unavailable, "database_away"),
        ("08006", errors.Unavailable, "database_away"),
        ("57P01", errors.Unavailable, "database_away"),
        ("57P03", errors.Unavailable, "database_away"),
        ("53200", errors.Unavailable, "database_away"),
        ("53100", errors.Unavailable, "database_full"),
        ("53300", errors.Unavailable, "database_busy"),
        ("25006", errors.Unavailable, "database_read_only"),
        ("57014", errors.Unavailable, "database_slow"),
        ("40001", errors.Unavailable, "database_contended"),
        ("40P01", errors.Unavailable, "database_contended"),
        ("55P03", errors.Unavailable, "database_contended"),
        ("0A000", errors.Unavailable, "plan_stale"),
        ("22021", errors.Rejected, "unstorable_text"),
        ("28P01", errors.Rejected, "database_login"),
        ("3D000", errors.Rejected, "database_login"),
        ("42501", errors.Broken, "permission_denied"),
        ("42P01", errors.Broken, "database_error"),
        ("22012", errors.Broken, "database_error"),
        ("23514", errors.Broken, "no_partition"),
    ],
)
def test_a_state_asks_for_its_reaction(state, kind, code):
    error = failure.of_state(state)
    assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize("state", ["23503", "23505", "23514", "23P01"])
def test_a_constraint_is_a_conflict_that_names_it(state):
    error = failure.of_state(state, table="message", constraint="message_pkey")
    assert isinstance(error, failure.Conflict)
    assert (error.code, error.status, error.constraint) == ("conflict", 409, "message_pkey")


def test_the_servers_message_is_shown_only_where_it_quotes_no_row():
    said = 'column "nme" does not exist'
    assert said in failure.of_state("42703", primary=said).detail
    secret = "invalid input syntax for type integer: secret"
    assert "secret" not in failure.of_state("22P02", primary=secret).detail
