"""What an operator may set of the edge is checked when it is read, by name."""

import pytest

from penstock.base import errors
from penstock.edge import settings


@pytest.mark.parametrize(
    ("field", "value"),
    [("host", ""), ("port", -1), ("port", 65_536), ("in_flight", 0), ("drain_s", -1), ("drain_s", float("nan"))],
)
def test_a_value_that_cannot_work_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(errors.Rejected) as refused:
        settings.EdgeSettings(**{field: value})
    assert (refused.value.code, refused.value.field) == ("bad_setting", f"edge.{field}")
    assert field in refused.value.detail


def test_the_defaults_listen_on_loopback_only() -> None:
    assert settings.EdgeSettings().host == "127.0.0.1"
