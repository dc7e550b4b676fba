"""Whatever a platform writes into Retry-After, the wait is between a moment and ten minutes."""

import email.utils
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.channels.adapters import retry_after

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("3", 3.0),
        (" 3 ", 3.0),
        ("0.5", 0.5),
        ("0", 0.1),
        ("601", 600.0),
        ("9" * 500, 600.0),
        ("Sun, 01 Mar 2026 12:00:07 GMT", 7.0),
        ("Sunday, 01-Mar-26 12:00:07 GMT", 7.0),
        ("Sun Mar  1 12:00:07 2026", 7.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", 0.1),
        ("Sun, 01 Mar 2027 12:00:00 GMT", 600.0),
        ("", 5.0),
        ("-3", 5.0),
        ("soon", 5.0),
        ("1e9", 5.0),
        ("nan", 5.0),
        ("inf", 5.0),
        ("٣", 5.0),
        ("Sun, 99 Mar 2026 12:00:00 GMT", 5.0),
    ],
)
def test_both_forms_are_read_and_anything_else_is_the_default(value, wait_s):
    assert retry_after.parse(value, NOW, default_s=5.0) == wait_s


@given(st.text(max_size=60))
def test_no_text_breaks_it_or_stalls_us(text):
    wait_s = retry_after.parse(text, NOW, default_s=5.0)
    assert retry_after.SHORTEST_S <= wait_s <= retry_after.LONGEST_S


@given(st.integers(1, 599))
def test_a_date_and_its_distance_are_the_same(seconds):
    date = email.utils.format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after.parse(date, NOW, default_s=5.0) == retry_after.parse(str(seconds), NOW, default_s=5.0)
