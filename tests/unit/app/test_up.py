"""Addresses that `up` hands on."""

import pytest

from penstock.app import configuration, up
from penstock.base import errors


@pytest.mark.parametrize(
    ("listens", "reached"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "127.0.0.1"),
        ("::1", "[::1]"),
        ("10.0.0.1", "10.0.0.1"),
        ("localhost", "localhost"),
    ],
)
def test_an_address_to_listen_on_becomes_one_to_call(listens, reached):
    assert up._host(listens) == reached


def test_settings_for_a_nats_server_that_is_not_used_are_refused(tmp_path):
    environ = {"PENSTOCK_DATA": str(tmp_path), "PENSTOCK_NATS__CA_FILE": "ca.pem"}
    with pytest.raises(errors.Rejected, match=r"nats\.ca_file is for a server that PENSTOCK_NATS_URL names"):
        up._require_purpose(configuration.load(environ))
    up._require_purpose(configuration.load({**environ, "PENSTOCK_NATS_URL": "tls://a"}))
    up._require_purpose(configuration.load({"PENSTOCK_DATA": str(tmp_path)}))
