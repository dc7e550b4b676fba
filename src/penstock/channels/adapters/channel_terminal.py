"""The terminal (`penstock chat`): what is said comes in as a signed webhook, what is answered is read from our rows."""

from collections.abc import Mapping
from typing import Final

from penstock.base import ids, settings
from penstock.channels import ports, registry
from penstock.channels.adapters import standard_webhooks, webhook_events
from penstock.messages.v1 import outbound_pb2

NAME: Final = ids.ChannelName("terminal")

_CAPABILITIES: Final = outbound_pb2.Capabilities(
    reply=True, thread=True, edit=True, deletion=True, reaction=True, attachment=True
)


class TerminalChannel:
    """A `ports.Channel` that calls nobody.

    A command is durable before it is sent, and a terminal reads the rows of its conversation through the stream
    entrypoint: so a send has nothing left to do, and cannot fail. `tolerance_s` is how far clocks may be apart.
    """

    def __init__(self, *, tolerance_s: float = standard_webhooks.TOLERANCE_S) -> None:
        self._tolerance_s = tolerance_s

    @property
    def name(self) -> ids.ChannelName:
        """`terminal`."""
        return NAME

    @property
    def capabilities(self) -> outbound_pb2.Capabilities:
        """Everything but pins, in texts of any length."""
        return _CAPABILITIES

    def check_config(self, config: Mapping[str, str]) -> None:
        """Raise Rejected when there is any: a terminal needs none."""
        registry.load().find(NAME).check_fields(config)

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        """Raise Rejected unless it signs, and is `whsec_` and 24 to 64 bytes in base64."""
        standard_webhooks.check_secret(kind, secret)

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        """Raise Rejected (401) unless Standard Webhooks says that a live secret signed it, recently."""
        standard_webhooks.verify(request, credentials, tolerance_s=self._tolerance_s)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        """The messages of one event or of a batch. Raises Rejected (400, 413, 415)."""
        del account
        return webhook_events.read(request)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        """Nothing to do; the message's id is the same for the same command, for ever."""
        del credentials
        return ports.Sent(ids.derive_id("terminal", account.id, command.command_id))

    async def close(self) -> None:
        """Nothing is open."""
