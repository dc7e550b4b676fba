"""The table of roles: what each adds to a process. Several may share one; each drains alone."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from penstock.base import errors, ids
from penstock.channels import wiring as channels_wiring
from penstock.channels.service import retention as channels_retention
from penstock.edge.entrypoints import http
from penstock.spine import advisories, consumer, porter, ports, suspects
from penstock.spine import worker as workers
from penstock.state import keeper, publisher, retention

if TYPE_CHECKING:
    from penstock.app import configuration, house


class Parts:
    """What the chosen roles put into one process, and what they share while doing so."""

    def __init__(self, joined: "house.House", transport: ports.Spine, settings: "configuration.Configuration") -> None:
        self.house, self.spine, self.settings = joined, transport, settings
        self.suspects = suspects.Suspects(transport)
        self.mounts: list[http.Mount] = []
        self.workers: list[tuple[consumer.ConsumerPolicy, workers.Worker]] = []
        self.started: list[workers.Worker] = []
        self.durables: list[consumer.ConsumerPolicy] = []
        self.publishers: dict[str, publisher.Publisher] = {}
        self.keepers: list[keeper.Keeper | porter.Porter | retention.Retention] = []

    def publish_outbox(self, room: str) -> None:
        """Publish what that room's outbox holds; asked for by every role whose transactions write to it."""
        if room not in self.publishers:
            self.publishers[room] = publisher.Publisher(self.house.database, self.spine, room)

    def consume(
        self,
        policy: consumer.ConsumerPolicy,
        handle: workers.Handler,
        lane_of: Callable[[ports.Delivery], str] | None = None,
    ) -> None:
        """Take deliveries of a consumer, as the settings tune it, to a handler."""
        tuned = self.settings.spine.tuned(policy)
        made = workers.Worker(self.spine, tuned, handle, lane_of=lane_of, solo=self.suspects)
        self.workers.append((tuned, made))


@dataclasses.dataclass(frozen=True, slots=True)
class Role:
    """A name for `penstock run`, what it means, what it adds, and the rooms whose tables it touches meanwhile.

    `publishes`: it carries outboxes to their streams, of all tenants.
    """

    name: str
    meaning: str
    furnish: Callable[[Parts], None]
    rooms: tuple[str, ...]
    publishes: bool = True

    @property
    def seals(self) -> bool:
        """Whether it opens what is sealed, and so needs a key."""
        return "sealing" in self.rooms


def _inbound(parts: Parts) -> None:
    room = parts.house.channels
    parts.mounts += [http.Mount("/webhooks/", room.webhooks), http.Mount("/v1/terminal/", room.terminal)]
    parts.publish_outbox("channels")

    async def tenants() -> list[ids.TenantId]:
        return [tenant.id for tenant in await parts.house.tenancy.list()]

    kinds = channels_retention.kinds(parts.settings.channels, parts.house.database)
    parts.keepers.append(retention.Retention(kinds, tenants))


def _outbound(parts: Parts) -> None:
    parts.consume(consumer.OUTBOUND, parts.house.channels.outbound, lane_of=channels_wiring.lane_of)
    parts.publish_outbox("channels")


def _state(parts: Parts) -> None:
    # Other roles may run with a login that makes nothing.
    parts.durables += [parts.settings.spine.tuned(policy) for policy in consumer.CONSUMERS]
    parts.consume(consumer.QUARANTINE, parts.house.quarantine.handle)
    parts.consume(consumer.ADVISORIES, advisories.Advisories(parts.spine).handle)
    parts.publish_outbox("state")
    old = retention.OldQuarantine(parts.house.database, parts.settings.state.keep_quarantine_days)
    parts.keepers += [
        keeper.Keeper(parts.house.database, parts.spine),
        porter.Porter(parts.spine),
        retention.Retention([old], old.tenants),
    ]


_TALKING: Final = ("tenancy", "sealing", "channels")

ROLES: Final[Sequence[Role]] = (
    Role("inbound", "takes webhooks and the terminal's messages; forgets what is old", _inbound, _TALKING),
    Role("outbound", "sends what apps say to platforms", _outbound, _TALKING),
    Role(
        "state",
        "keeps quarantined messages and redrives them; keeps the floors of consumers; lets apps in",
        _state,
        ("state",),
    ),
)
GROUPS: Final = {"channels": ("inbound", "outbound"), "all": ("inbound", "outbound", "state")}


def select(names: Sequence[str]) -> list[Role]:
    """The roles that these names mean, each once, in the table's order. Raises Rejected for an unknown name."""
    wanted: set[str] = set()
    for name in names:
        wanted.update(GROUPS.get(name, (name,)))
    known = {role.name for role in ROLES}
    if unknown := sorted(wanted - known):
        raise errors.Rejected(
            "unknown_role",
            f"there is no role '{unknown[0]}'",
            hint=f"Roles: {', '.join([*sorted(known), *GROUPS])}.",
            field="role",
        )
    return [role for role in ROLES if role.name in wanted]
