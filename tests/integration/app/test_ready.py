"""Ready is said per tenant, over HTTP, of a running installation."""

import time

import httpx
import pytest

WITHIN_S = 40.0


def ready(installed, query=""):
    answer = httpx.get(f"{installed.http_url}/ready{query}")
    return answer.status_code, answer.json()


def until(installed, query, status):
    """Wait until it answers so: another process hears of a change within a moment."""
    deadline = time.monotonic() + WITHIN_S
    while (found := ready(installed, query))[0] != status:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found[1]


def test_a_tenant_is_ready_while_it_may_be_served(installed):
    assert ready(installed, "?tenant=late")[0] == 404
    assert installed.call("tenant", "create", "late").code == 0
    assert until(installed, "?tenant=late", 200) == {"status": "ready", "tenant": "late"}
    assert installed.call("tenant", "suspend", "late").code == 0
    told = until(installed, "?tenant=late", 503)
    assert "suspended" in told["missing"]["tenant"]
    assert ready(installed)[0] == 200
    assert installed.call("tenant", "resume", "late").code == 0
    until(installed, "?tenant=late", 200)


@pytest.mark.parametrize("query", ["?tenant=", "?tenant=a%2Eb", "?who=acme", "?tenant=" + "a" * 100])
def test_another_question_is_refused(installed, query):
    status, problem = ready(installed, query)
    assert (status, problem["code"]) == (400, "bad_query")
