"""Marks in statements."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.database import statement


def test_each_mark_gets_its_number_and_a_doubled_percent_becomes_one():
    assert statement.numbered("select %s, '50%%', %s || %s") == b"select $1, '50%', $2 || $3"


@given(st.lists(st.sampled_from(["%s", "%%", "a", " ", "$9", "é"])))
def test_there_are_as_many_numbers_as_marks(parts):
    text = statement.numbered("".join(parts)).decode()
    assert text.count("$") == parts.count("%s") + parts.count("$9")
    assert text.count("%") == parts.count("%%")
    assert all(f"${number}" in text for number in range(1, parts.count("%s") + 1))


@pytest.mark.parametrize("sql", ["like 'a%'", "%d", "%(name)s", "100%\n"])
def test_any_other_mark_is_our_bug(sql):
    with pytest.raises(errors.Broken):
        statement.numbered(sql)
