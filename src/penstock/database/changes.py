"""What one process tells all others: this account, that tenant is not what you remember.

A change is told in the transaction that makes it, so that it is heard exactly when it is committed, after which whoever
looks finds it. What is told is a word and an id, never what the change was: listeners forget, and look.

Never tell anything in a transaction that appends messages: PostgreSQL commits those that notify one after another.
"""

from typing import Final

from penstock.database.transaction import Transaction

CHANNEL: Final = "penstock_changed"
"""The notification channel, which any login may listen and write to: all that a liar achieves is a look too many."""

LISTEN: Final = "listen penstock_changed"
"""The statement that hears of it; a channel's name is no value, so it cannot be bound."""

ACCOUNT: Final = "account"
TENANT: Final = "tenant"
TOPICS: Final = frozenset({ACCOUNT, TENANT})


def tell(transaction: Transaction, topic: str, id: str) -> None:
    """Queue the news that something of this topic and id changes; it is heard once the transaction is committed."""
    transaction.send("select pg_notify(%s, %s)", (CHANNEL, f"{topic} {id}"))


def heard(payload: str) -> tuple[str, str] | None:
    """Topic and id of a notification; None for what this build does not know, which a later one may tell."""
    topic, space, id = payload.partition(" ")
    return (topic, id) if space and id and topic in TOPICS else None
