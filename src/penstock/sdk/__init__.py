"""The promised surface for authors of apps: `from penstock import sdk`.

In come a tenant's messages, out go an app's replies; decided here are how handlers are found, how what they say is
numbered so that it is said once, and how a process starts, shares work with its replicas and stops. What is named in
`__all__` stays; everything else may change. Importing it loads neither a room nor Postgres, and NATS only when an app
runs. `penstock.sdk.testing` holds a conversation with an app in memory.
"""

from penstock.base.errors import Broken, PenstockError, Poisoned, Rejected, Unavailable
from penstock.sdk.app import App
from penstock.sdk.handlers import Handler
from penstock.sdk.message import Message
from penstock.sdk.model import Attachment, Kind, OnAmbiguous, Sender, SenderKind, Sent

__all__ = [
    # An app, and what its handlers are.
    "App",
    "Handler",
    # What a handler gets and gives.
    "Message",
    "Kind",
    "Sender",
    "SenderKind",
    "Attachment",
    "Sent",
    "OnAmbiguous",
    # What a handler may raise: named by the reaction it asks for.
    "PenstockError",
    "Rejected",
    "Unavailable",
    "Poisoned",
    "Broken",
]
