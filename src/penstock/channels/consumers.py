"""What arrives on the spine: send commands, one lane per conversation."""

from penstock.base import context as contexts
from penstock.base import errors
from penstock.channels.service import outbound
from penstock.messages.v1 import outbound_pb2
from penstock.spine import ports, route, subject


class OutboundConsumer:
    """Takes deliveries of the durable `consumer.OUTBOUND` to the service."""

    def __init__(self, service: outbound.Outbound) -> None:
        self._service = service

    async def handle(self, context: contexts.Context, delivery: ports.Delivery) -> None:
        """Bring one command to its end. Raises Poisoned for one that cannot be what its subject says."""
        command = route.OUTBOUND.decode(delivery.headers, delivery.body)
        check_subject(command, delivery.subject)
        await self._service.perform(context, command)


def lane_of(delivery: ports.Delivery) -> str:
    """Tenant, account and conversation: what must stay in order. The tokens of the subject name all three."""
    tokens = delivery.subject.split(".")
    return f"{tokens[1]}/{tokens[-2]}/{tokens[-1]}"


def check_subject(command: outbound_pb2.SendCommand, found: str) -> None:
    """Raise Poisoned unless tenant, channel, account and conversation of the body are those of the subject.

    Permissions and lanes go by the subject, sending by the body: a message in which they differ is forged or broken.
    """
    try:
        wanted = subject.outbound(command.tenant, command.channel, command.account, command.conversation)
    except errors.Rejected as error:
        raise errors.Poisoned("bad_command", error.detail) from None
    if wanted != found:
        raise errors.Poisoned("subject_mismatch", "the command's body is not for the subject it came under")
