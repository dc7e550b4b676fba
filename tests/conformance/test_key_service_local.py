"""A key in the process's own memory keeps the promises of a key service."""

import contextlib

import pytest

from penstock.sealing import model
from penstock.sealing.testing import conformance


class LocalBench:
    def __init__(self) -> None:
        self.service = model.KeyEncryptionKey(b"k" * 32)

    def another(self) -> model.KeyEncryptionKey:
        return model.KeyEncryptionKey(b"k" * 32)

    def stranger(self) -> model.KeyEncryptionKey:
        return model.KeyEncryptionKey(b"s" * 32)

    def away(self) -> contextlib.AbstractContextManager[bool]:
        return contextlib.nullcontext(enter_result=False)


class TestLocalKeyService(conformance.KeyServiceConformance):
    @pytest.fixture
    def key_bench(self) -> LocalBench:
        return LocalBench()
