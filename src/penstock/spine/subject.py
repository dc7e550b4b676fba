"""Subjects come only from these builders, which validate or encode every token.

Grammar: tokens of `[A-Za-z0-9_-]+` joined by dots. Ids of the outside world (accounts aside, which are ours) are
encoded injectively by `ids.encode_token`. A partition token `p00`-`p63` stands where order by key must hold across
processes.
"""

import functools

from penstock.base import ids


def inbound(tenant: str, channel: str, account: str, conversation: str) -> str:
    """What somebody said: `tenant.<t>.messages.in.<p>.<channel>.<account>.<conversation>`."""
    return _conversation("in", tenant, channel, account, conversation)


def outbound(tenant: str, channel: str, account: str, conversation: str) -> str:
    """What an app says: `tenant.<t>.messages.out.<p>.<channel>.<account>.<conversation>`."""
    return _conversation("out", tenant, channel, account, conversation)


@functools.lru_cache(maxsize=4096)
def _conversation(direction: str, tenant: str, channel: str, account: str, conversation: str) -> str:
    return ".".join(
        (
            "tenant",
            ids.tenant_id(tenant),
            "messages",
            direction,
            ids.partition_token(conversation_partition(tenant, account, conversation)),
            ids.slug(channel, "channel"),
            ids.token(account, "account"),
            ids.encode_token(conversation),
        )
    )


def conversations(tenant: str, direction: str, *, channel: str = "", account: str = "", conversation: str = "") -> str:
    """The pattern of what goes `in` or `out`, in all of a tenant's conversations or those that are named."""
    return ".".join(
        (
            "tenant",
            ids.tenant_id(tenant),
            "messages",
            ids.token(direction, "direction"),
            "*",
            ids.slug(channel, "channel") if channel else "*",
            ids.token(account, "account") if account else "*",
            ids.encode_token(conversation) if conversation else "*",
        )
    )


def conversation_partition(tenant: str, account: str, conversation: str) -> int:
    """The partition in which a conversation is kept in order, both ways."""
    return ids.partition(tenant, "conversation", f"{account}/{conversation}")


def receipts(tenant: str, account: str, conversation: str) -> str:
    """What became of commands: `tenant.<t>.receipts.<p>.<account>`, in the partition of their conversation."""
    partition = ids.partition_token(conversation_partition(tenant, account, conversation))
    return f"tenant.{ids.tenant_id(tenant)}.receipts.{partition}.{ids.token(account, 'account')}"


def all_receipts(tenant: str, *, account: str = "") -> str:
    """The pattern of a tenant's receipts, of all accounts or the one that is named."""
    return f"tenant.{ids.tenant_id(tenant)}.receipts.*.{ids.token(account, 'account') if account else '*'}"


def aggregate(tenant: str, kind: str, key: str) -> str:
    """The relay of one aggregate's commits: `tenant.<t>.aggregate.<p>.<type>.<id>`."""
    partition = ids.partition_token(ids.partition(tenant, kind, key))
    return f"tenant.{ids.tenant_id(tenant)}.aggregate.{partition}.{ids.token(kind, 'type')}.{ids.encode_token(key)}"


def jobs(tenant: str, kind: str) -> str:
    """Work for components: `tenant.<t>.jobs.<kind>`; a kind may have several tokens (`extract.pdf`)."""
    return f"tenant.{ids.tenant_id(tenant)}.jobs.{_kind(kind)}"


def results(tenant: str, kind: str) -> str:
    """What became of that work: `tenant.<t>.results.<kind>`."""
    return f"tenant.{ids.tenant_id(tenant)}.results.{_kind(kind)}"


def _kind(kind: str) -> str:
    return ".".join(ids.token(part, "kind") for part in kind.split("."))


def quarantine(tenant: str, stream: str, consumer: str) -> str:
    """What one consumer set aside: `tenant.<t>.quarantine.<stream>.<consumer>`."""
    return f"tenant.{ids.tenant_id(tenant)}.quarantine.{ids.token(stream, 'stream')}.{ids.token(consumer, 'consumer')}"


def heartbeat(component: str, instance: str) -> str:
    """Liveness on core NATS: `penstock.heartbeat.<component>.<instance>`."""
    return f"penstock.heartbeat.{ids.token(component, 'component')}.{ids.token(instance, 'instance')}"


def heartbeats() -> str:
    """What everybody says of their liveness: the pattern `penstock.heartbeat.>`."""
    return "penstock.heartbeat.>"


def membership(consumer: str, instance: str) -> str:
    """Who shares a consumer, on core NATS: `penstock.membership.<consumer>.<instance>`."""
    return f"penstock.membership.{ids.token(consumer, 'consumer')}.{ids.token(instance, 'instance')}"


def memberships(consumer: str) -> str:
    """What every process that shares a consumer says: the pattern `penstock.membership.<consumer>.*`."""
    return f"penstock.membership.{ids.token(consumer, 'consumer')}.*"


def roll_call(consumer: str) -> str:
    """Where a newcomer asks who shares a consumer: `penstock.roll-call.<consumer>`."""
    return f"penstock.roll-call.{ids.token(consumer, 'consumer')}"


def join(tenant: str) -> str:
    """Where an app of a tenant asks for its durables, on core NATS: `penstock.join.<tenant>`."""
    return f"penstock.join.{ids.tenant_id(tenant)}"


def desk(tenant: str, app: str, question: str = "ask") -> str:
    """Where an app asks the core for what it may not do itself: `penstock.desk.<tenant>.<app>.<question>`."""
    last = question if question == "*" else ids.token(question, "question")
    return f"penstock.desk.{ids.tenant_id(tenant)}.{ids.slug(app, 'app')}.{last}"


@functools.lru_cache(maxsize=4096)
def tenant_of(subject: str) -> ids.TenantId:
    """The tenant a subject belongs to. Raises Rejected for a subject outside `tenant.<t>.`."""
    parts = subject.split(".", 2)
    return ids.tenant_id(parts[1] if len(parts) == 3 and parts[0] == "tenant" else "")


def of_tenant(subjects: str, tenant: str) -> str:
    """Narrow a stream's wildcard subject (`tenant.*.…`) to one tenant."""
    return subjects.replace("tenant.*.", f"tenant.{ids.tenant_id(tenant)}.", 1)
