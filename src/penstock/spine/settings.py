"""What an operator may set of the spine: replicas of streams, and how consumers hold and retry."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

from penstock.base import errors
from penstock.spine import consumer

TUNABLE: Final = ("concurrency", "max_ack_pending", "ack_wait_s", "attempts", "backoff_s", "deadline_s")
"""Fields of a consumer policy that may be overridden; the others are the contract."""


@dataclasses.dataclass(frozen=True)
class SpineSettings:
    """Streams and consumers."""

    replicas: int = 1
    """Copies of each stream that is made: 1 on one server, 3 or 5 on a cluster. An existing stream is not changed."""

    consumers: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict[str, Mapping[str, Any]])
    """Overrides by durable name, as tables of the settings file: `[spine.consumers.outbound]` with `concurrency`,
    `max_ack_pending`, `ack_wait_s`, `attempts`, `backoff_s` or `deadline_s`. A durable that exists is not changed."""

    def __post_init__(self) -> None:
        if self.replicas not in {1, 3, 5}:
            raise errors.Rejected("bad_setting", "spine.replicas must be 1, 3 or 5", field="spine.replicas")
        known = {policy.name: policy for policy in consumer.CONSUMERS}
        for name in self.consumers:
            if name not in known:
                raise errors.Rejected(
                    "unknown_setting",
                    f"spine.consumers has no durable '{name}'",
                    hint=f"It has: {', '.join(sorted(known))}.",
                    field=f"spine.consumers.{name}",
                )
            self.tuned(known[name])

    def tuned(self, policy: consumer.ConsumerPolicy) -> consumer.ConsumerPolicy:
        """The policy with its overrides, checked as a whole. Raises Rejected naming the field and the rule."""
        overrides = dict(self.consumers.get(policy.name, {}))
        for field, value in overrides.items():
            where = f"spine.consumers.{policy.name}.{field}"
            if field not in TUNABLE:
                raise errors.Rejected(
                    "unknown_setting", f"{where} cannot be set", hint=f"These can: {', '.join(TUNABLE)}.", field=where
                )
            overrides[field] = _number(value, where) if field != "backoff_s" else _numbers(value, where)
        return dataclasses.replace(policy, **overrides)


def _number(value: Any, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise errors.Rejected("bad_setting", f"{where} must be a number", field=where)
    return value


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise errors.Rejected("bad_setting", f"{where} must be a list of seconds", field=where)
    return tuple(float(_number(each, where)) for each in value)  # pyright: ignore[reportUnknownVariableType]
