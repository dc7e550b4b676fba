"""A problem document is always valid, whatever the error was about, and no header is made of somebody's words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.base import errors
from penstock.edge import model

ANY = st.text()


@given(ANY, ANY, ANY, st.integers(400, 499))
def test_law_a_rejection_becomes_a_readable_document(detail, hint, field, status):
    problem = model.problem_of(errors.Rejected("code", detail, hint=hint, field=field, status=status))
    document = json.loads(problem.body("r-1"))
    assert (document["status"], document["code"], document["request_id"]) == (status, "code", "r-1")
    assert document["type"] == "urn:penstock:problem:code"
    assert ("hint" in document, "field" in document) == (bool(hint), bool(field))
    for _, value in problem.headers:
        assert value == b"close"


@given(st.floats(0, 1e6))
def test_law_retry_after_is_whole_seconds_and_never_too_soon(after_s):
    ((name, value),) = model.problem_of(errors.Unavailable("busy", "no", after_s=after_s)).headers
    assert name == b"retry-after"
    assert int(value) >= max(1, after_s)


@pytest.mark.parametrize("error", [errors.Broken("bug", "the secret"), RuntimeError("the secret"), KeyError("secret")])
def test_what_is_our_fault_says_nothing_about_itself(error):
    problem = model.problem_of(error)
    assert (problem.status, problem.code) == (500, "internal")
    assert b"secret" not in problem.body("r-1")
