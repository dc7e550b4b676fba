"""Unit tests reach nothing outside their process: network sockets are shut (an event loop's own pipe is not)."""

import pytest
import pytest_socket


@pytest.fixture(autouse=True)
def network_is_shut():
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()
