"""Who may speak: channels by any of their names, accounts by id, and tenants that may act."""

import dataclasses
from collections.abc import Mapping

from penstock.base import errors, ids
from penstock.channels import errors as channel_errors
from penstock.channels import ports, registry


@dataclasses.dataclass(frozen=True, slots=True)
class Directory:
    """What inbound, outbound and the terminal look things up in. `channels` holds adapters by slug."""

    registry: registry.Registry
    channels: Mapping[str, ports.Channel]
    accounts: ports.Accounts
    tenants: ports.Tenants
    suspended_retry_s: float = 30.0

    def channel(self, name: str) -> ports.Channel:
        """The adapter of a channel by its slug or an earlier one. Raises Rejected `no_account` (404)."""
        try:
            return self.channels[self.registry.resolve(name)]
        except (errors.Rejected, KeyError):
            raise channel_errors.no_account() from None

    def label(self, name: str) -> str:
        """The channel as a metric's label: whatever people make up is one word, "unknown"."""
        try:
            return self.registry.resolve(name)
        except errors.Rejected:
            return "unknown"

    async def require_active(self, tenant: ids.TenantId) -> None:
        """Raise Unavailable while the tenant is suspended (nothing is lost, only late), Rejected when there is none."""
        try:
            await self.tenants.require_active(tenant)
        except errors.Rejected as error:
            if error.status == 403:
                raise channel_errors.tenant_suspended(self.suspended_retry_s) from None
            raise channel_errors.no_account() from None

    async def verified(
        self, channel: ports.Channel, account_id: str, request: ports.WebhookRequest
    ) -> tuple[ports.Account, ports.Credentials]:
        """The account that a request really comes from; nothing else has been done with the request before.

        Raises Rejected: 404 without such an account, 401 unless a live secret signed it, 403 when it is disabled (told
        only to who holds a secret); and Unavailable while its tenant is suspended.
        """
        account, credentials = await self.accounts.find(channel.name, account_id)
        await self.believe(channel, account, credentials, request)
        return account, credentials

    async def believe(
        self,
        channel: ports.Channel,
        account: ports.Account,
        credentials: ports.Credentials,
        request: ports.WebhookRequest,
    ) -> None:
        """Raise as `verified` does unless the request really comes from this account, and it may speak."""
        if not credentials.secrets:
            raise channel_errors.no_secret()
        channel.verify(request, credentials)
        if account.disabled:
            raise channel_errors.account_disabled()
        await self.require_active(account.tenant)
