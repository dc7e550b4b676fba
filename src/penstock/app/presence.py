"""Which roles and apps of an installation are there: what is declared, beside what says of itself that it is here.

Declared is every role of this build, and every app that ever joined: its durables are kept for it. Present is whoever
is heard within one period of heartbeats.
"""

import asyncio
import collections
import contextlib
import dataclasses
from collections.abc import Mapping
from typing import Final

from penstock.app import configuration, endpoints, roles, streams
from penstock.base import errors
from penstock.messages.v1 import heartbeat_pb2
from penstock.servers import doctor, folder
from penstock.spine import consumer, heartbeat, ports, route, stream, subject

LISTENS_S: Final = heartbeat.PERIOD_S + 1.0

_APP: Final = "app_"
_STATES: Final = {heartbeat.STARTING: "starting", heartbeat.READY: "present", heartbeat.STOPPING: "stopping"}


@dataclasses.dataclass(frozen=True, slots=True)
class Component:
    """A role, or one tenant's app: how many of its processes are in which state, and how many messages wait for it."""

    name: str
    states: Mapping[str, int]
    waiting: int = 0

    @property
    def is_app(self) -> bool:
        """Whether it is an app, and not one of our roles."""
        return self.name.startswith(_APP)


async def components(spine: ports.Spine, *, listen_s: float = LISTENS_S) -> list[Component]:
    """Everything that is declared or heard of, after listening for so long, or until all that is declared was heard.

    Raises Unavailable.
    """
    waiting = {role.name: 0 for role in roles.ROLES}
    for state in await spine.consumer_states(stream.MESSAGES_INBOUND.name):
        name = consumer.consumer_of(state.policy.name)
        if name.startswith(_APP):
            waiting[name] = waiting.get(name, 0) + state.waiting
    heard: dict[str, dict[str, str]] = collections.defaultdict(dict)
    complete = asyncio.Event()

    async def receive(signal: ports.Signal) -> None:
        with contextlib.suppress(errors.Poisoned):
            said = route.HEARTBEAT.decode(signal.headers, signal.body)
            heard[said.component][said.instance] = _state(said)
            if waiting.keys() <= heard.keys():
                complete.set()

    subscription = await spine.listen(subject.heartbeats(), receive)
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(listen_s):
                await complete.wait()
    finally:
        await subscription.close()
    return [
        Component(name, collections.Counter(heard.get(name, {}).values()), waiting.get(name, 0))
        for name in [*waiting, *sorted(heard.keys() - waiting.keys())]
    ]


def _state(said: heartbeat_pb2.Heartbeat) -> str:
    return _STATES.get(said.state, "unknown")


def check(found: Component) -> doctor.Check:
    """What `doctor` says of it."""
    name = f"{'app' if found.is_app else 'role'} {found.name}"
    told = ", ".join(f"{number} {state}" for state, number in sorted(found.states.items()))
    if found.states.get("present"):
        return doctor.Check(name, "ok", told)
    if found.is_app:
        left = f"{told or 'nobody is there'}; {found.waiting} messages wait"
        return doctor.Check(name, "warn", left, "Start the app, or delete its durables if it is gone for good.")
    remedy = f"Start it with 'penstock run {found.name}'; if it runs, its /ready says what it lacks."
    return doctor.Check(name, "warn", told or "nobody is there", remedy)


async def examine(found: configuration.Configuration) -> list[doctor.Check]:
    """One check for each role and app of the installation that runs; one in all where none does."""
    if found.servers.nats_url is None:
        try:
            endpoints.read(folder.absolute(found.servers.data_folder))
        except errors.Unavailable:
            return [doctor.Check("installation", "ok", "does not run")]
        except errors.Rejected as error:
            return [doctor.Check("installation", "warn", error.detail, error.hint)]
    try:
        async with streams.connected(found) as spine:
            return [check(one) for one in await components(spine)]
    except errors.PenstockError as error:
        return [doctor.Check("installation", "warn", error.detail, error.hint or "See the checks above.")]
