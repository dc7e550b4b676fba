"""What an operator may set of the spine: replicas, how consumers hold and retry, and how to be let in by NATS."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from penstock.base import errors, settings
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


_PREFIX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


@dataclasses.dataclass(frozen=True)
class NatsSettings:
    """How the core and apps are let in by a NATS server; its address, user and password are in PENSTOCK_NATS_URL.

    An app reads the same variables; one that finds an installation on its machine finds these with it.
    """

    token: settings.Secret | None = None
    """Token to log in with, instead of user and password."""

    nkey_seed_file: Path | None = None
    """File with the seed (`SU...`) of the nkey to log in with. Only its owner should be able to read it."""

    ca_file: Path | None = None
    """PEM file of the authorities that may sign the server's certificate. Set, TLS is insisted on. Unset: the system's
    authorities, and TLS where the server requires it or its URL begins with `tls://`."""

    certificate_file: Path | None = None
    """PEM file of our own certificate, for servers that ask clients for one. Needs `key_file`."""

    key_file: Path | None = None
    """PEM file of its private key, not encrypted. Only its owner should be able to read it."""

    tls_first: bool = False
    """The server expects TLS from the first byte (its `handshake_first`)."""

    inbox_prefix: str = "_INBOX"
    """What subjects for answers begin with; another where permissions give each user a prefix of its own."""

    api_prefix: str = "$JS.API"
    """What subjects of JetStream's API begin with; another in an account that imports it under another name, as those
    of `penstock nats accounts` do (`penstock.api`)."""

    def __post_init__(self) -> None:
        for one, other in (("certificate_file", "key_file"), ("key_file", "certificate_file")):
            if getattr(self, one) is not None and getattr(self, other) is None:
                raise errors.Rejected("bad_setting", f"nats.{one} needs nats.{other} beside it", field=f"nats.{other}")
        if not _PREFIX.fullmatch(self.inbox_prefix):
            raise errors.Rejected(
                "bad_setting",
                "nats.inbox_prefix is tokens of letters, digits, '-' and '_' joined by dots",
                field="nats.inbox_prefix",
            )
        if not _PREFIX.fullmatch(self.api_prefix.removeprefix("$")):
            raise errors.Rejected(
                "bad_setting",
                "nats.api_prefix is tokens of letters, digits, '-' and '_' joined by dots; it may begin with '$'",
                field="nats.api_prefix",
            )

    def table(self) -> dict[str, Any]:
        """What is set, as a settings file would say it, secrets included and files by absolute paths."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if getattr(self, field.name) != field.default
        }


def _plain(value: Any) -> Any:
    if isinstance(value, settings.Secret):
        return value.reveal()
    return str(value.absolute()) if isinstance(value, Path) else value


def _number(value: Any, where: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise errors.Rejected("bad_setting", f"{where} must be a number", field=where)
    return value


def _numbers(value: Any, where: str) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise errors.Rejected("bad_setting", f"{where} must be a list of seconds", field=where)
    return tuple(float(_number(each, where)) for each in value)  # pyright: ignore[reportUnknownVariableType]
