"""Policies in the words of JetStream and back: nanoseconds there, seconds here; -1 there means no limit."""

from collections.abc import Mapping
from typing import Any, Final

from penstock.spine import consumer, ports, stream

NANOSECONDS: Final = 1_000_000_000

PRIORITY_GROUP: Final = "owner"
"""The one priority group of a durable that has one owner at a time."""

HEEDED: Final = ("allow_rollup_hdrs", "allow_msg_ttl", "allow_msg_counter", "allow_msg_schedules", "allow_atomic")
"""What lets the headers of a message steer the server."""

_DEFAULTS: Final = consumer.ConsumerPolicy("defaults", "-", ">")


def stream_config(policy: stream.StreamPolicy) -> dict[str, Any]:
    """The configuration that makes a stream hold what its policy asks."""
    return {
        "name": policy.name,
        "description": policy.purpose,
        "subjects": list(policy.subjects),
        "retention": policy.retention,
        "max_age": nanoseconds(policy.max_age_s),
        "max_bytes": policy.max_bytes if policy.max_bytes > 0 else -1,
        "discard": policy.discard,
        "duplicate_window": nanoseconds(policy.duplicate_window_s),
        "num_replicas": policy.replicas,
        "storage": "file",
    }


def stream_policy(config: Mapping[str, Any]) -> stream.StreamPolicy:
    """What a stream's configuration holds, as a policy. Whether outsiders read it is not stored."""
    return stream.StreamPolicy(
        name=config["name"],
        subjects=tuple(config.get("subjects") or ()),
        purpose=config.get("description", ""),
        retention=config.get("retention", "limits"),
        max_age_s=seconds(config.get("max_age", 0)),
        max_bytes=config.get("max_bytes", -1),
        discard=config.get("discard", "old"),
        duplicate_window_s=seconds(config.get("duplicate_window", 0)),
        replicas=config.get("num_replicas", 1),
        heeds=tuple(name for name in HEEDED if config.get(name)),
    )


def consumer_config(policy: consumer.ConsumerPolicy) -> dict[str, Any]:
    """The configuration of a durable.

    Backoff is ours (a retry carries its delay): the server's own would replace the lease.
    """
    return {
        "durable_name": policy.name,
        "name": policy.name,
        "ack_policy": "explicit",
        "ack_wait": nanoseconds(policy.ack_wait_s),
        "max_deliver": policy.max_deliver,
        "max_ack_pending": policy.max_ack_pending,
        **({"filter_subject": policy.filter} if len(policy.filters) == 1 else {"filter_subjects": policy.filters}),
        **(_pinned(policy.pin_timeout_s) if policy.pin_timeout_s else {}),
        "deliver_policy": "new" if policy.deliver_new else "all",
        "replay_policy": "instant",
    }


def changed_consumer(there: Mapping[str, Any], policy: consumer.ConsumerPolicy) -> dict[str, Any]:
    """An existing durable's configuration with this policy's filter, lease, limits and pin; where it began stays."""
    ours = ("filter_subject", "filter_subjects", "priority_groups", "priority_policy", "priority_timeout")
    kept = {name: value for name, value in there.items() if name not in ours}
    begun = {name: there[name] for name in ("deliver_policy", "replay_policy") if name in there}
    return kept | consumer_config(policy) | begun


def _pinned(timeout_s: float) -> dict[str, Any]:
    """One client at a time gets messages (ADR-42, "pinned client").

    https://github.com/nats-io/nats-architecture-and-design/blob/main/adr/ADR-42.md
    """
    return {
        "priority_groups": [PRIORITY_GROUP],
        "priority_policy": "pinned_client",
        "priority_timeout": nanoseconds(timeout_s),
    }


def consumer_policy(stream_name: str, config: Mapping[str, Any]) -> consumer.ConsumerPolicy:
    """What a durable's configuration holds, as a policy; what the server does not know has the policy's defaults."""
    most = max(config.get("max_ack_pending", 1000), 1)
    filters = config.get("filter_subjects") or [config.get("filter_subject", ">")]
    return consumer.ConsumerPolicy(
        name=config.get("durable_name") or config.get("name", ""),
        stream=stream_name,
        filter=" ".join(filters),
        concurrency=min(_DEFAULTS.concurrency, most),
        max_ack_pending=most,
        ack_wait_s=max(seconds(config.get("ack_wait", 0)), 1.0),
        max_deliver=config.get("max_deliver", -1),
        deliver_new=config.get("deliver_policy") == "new",
        pin_timeout_s=seconds(config.get("priority_timeout", 0)),
    )


def consumer_state(stream_name: str, info: Mapping[str, Any]) -> ports.ConsumerState:
    """Where a durable is, from what the server says about it."""
    return ports.ConsumerState(
        consumer_policy(stream_name, info["config"]),
        floor=int(info["ack_floor"]["stream_seq"]),
        waiting=int(info["num_pending"]),
        held=int(info["num_ack_pending"]),
    )


def nanoseconds(duration_s: float) -> int:
    """Seconds as JetStream writes them."""
    return round(duration_s * NANOSECONDS)


def seconds(duration_ns: int) -> float:
    """Nanoseconds of JetStream as seconds."""
    return duration_ns / NANOSECONDS
