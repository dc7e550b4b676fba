"""What a tenant may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.tenancy import model


@pytest.mark.parametrize("text", ["", "x" * 201, "two\nlines", "\x1b[31mred", "a\x00b", "right\u202eto left", "\udcff"])
def test_what_could_steer_a_terminal_or_is_too_long_is_refused(text: str) -> None:
    with pytest.raises(errors.Rejected) as refused:
        model.title(text)
    assert (refused.value.code, refused.value.field) == ("bad_title", "title")


@given(st.text(min_size=1, max_size=200))
def test_law_a_title_is_kept_as_it_is_or_refused(text: str) -> None:
    try:
        assert model.title(text) == text
    except errors.Rejected:
        assert not text.isprintable()
