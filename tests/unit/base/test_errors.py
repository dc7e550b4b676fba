"""Errors are named by the reaction they ask for, and say what to do."""

import pytest

from penstock.base import errors


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (errors.Rejected("code", "detail"), "rejected"),
        (errors.Unavailable("code", "detail"), "unavailable"),
        (errors.Poisoned("code", "detail"), "poisoned"),
        (errors.Broken("code", "detail"), "broken"),
    ],
)
def test_every_error_has_a_code_a_detail_and_a_reaction(error: errors.PenstockError, reaction: str) -> None:
    assert (error.code, error.detail, error.hint, error.reaction) == ("code", "detail", "", reaction)
    assert str(error) == "detail (code)"
    assert error.args == ("detail",)


def test_a_hint_names_the_next_step() -> None:
    assert str(errors.Broken("code", "It broke.", hint="Mend it.")) == "It broke. (code) Mend it."


def test_the_four_reactions_exclude_each_other() -> None:
    kinds = (errors.Rejected, errors.Unavailable, errors.Poisoned, errors.Broken)
    for kind in kinds:
        assert [other for other in kinds if isinstance(kind("code", "detail"), other)] == [kind]


def test_rejected_carries_its_status_and_field() -> None:
    plain, full = errors.Rejected("code", "detail"), errors.Rejected("code", "detail", status=409, field="name")
    assert (plain.status, plain.field) == (400, "")
    assert (full.status, full.field) == (409, "name")


def test_unavailable_says_when_to_come_back() -> None:
    plain, busy = errors.Unavailable("code", "detail"), errors.Unavailable("c", "d", after_s=7.5, throttled=True)
    assert (plain.after_s, plain.throttled) == (1.0, False)
    assert (busy.after_s, busy.throttled) == (7.5, True)


def test_a_wrong_method_is_a_rejection_that_names_the_right_ones() -> None:
    error = errors.WrongMethod("probes are read", allow=("GET", "HEAD"))
    assert isinstance(error, errors.Rejected)
    assert (error.code, error.status, error.allow) == ("method_not_allowed", 405, ("GET", "HEAD"))
    assert error.hint == "Use GET or HEAD."
