"""The transit engine of a real server keeps the promises of a key service."""

import contextlib
from collections.abc import AsyncGenerator, Generator, Iterator

import pytest

from penstock.sealing.adapters import key_service_vault
from penstock.sealing.testing import conformance
from penstock.servers import testing
from tests.integration.sealing import vault as vaults


class VaultBench:
    def __init__(self, vault: vaults.Vault) -> None:
        self._vault, self.service = vault, vault.service(timeout_s=20.0)
        self.opened = [self.service]

    def another(self, **options: object) -> key_service_vault.VaultKeyService:
        made = self._vault.service(**options)
        self.opened.append(made)
        return made

    def stranger(self) -> key_service_vault.VaultKeyService:
        self._vault.ask("transit/keys/stranger")
        return self.another(key="stranger", token=self._vault.root)

    @contextlib.contextmanager
    def away(self) -> Iterator[bool]:
        working, self.service = self.service, self.another(timeout_s=0.3)
        with self._vault.away():
            yield True
        self.service = working


@pytest.fixture(scope="module")
def vault() -> Generator[vaults.Vault]:
    with testing.temporary_folder() as folder, vaults.running(folder) as running:
        yield running


class TestVaultKeyService(conformance.KeyServiceConformance):
    @pytest.fixture
    async def key_bench(self, vault: vaults.Vault) -> AsyncGenerator[VaultBench]:
        bench = VaultBench(vault)
        yield bench
        for service in bench.opened:
            await service.close()
