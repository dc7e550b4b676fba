"""From an address to a connection that the server has taken: INFO, TLS, CONNECT, and the first PONG.

Nothing secret is written before TLS stands, when TLS is asked for by either side.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping
from typing import Any

import penstock
from penstock.base import errors
from penstock.spine.plane import complaint
from penstock.spine.plane.address import Address
from penstock.spine.plane.connection import Connection
from penstock.spine.plane.message import Receive
from penstock.spine.plane.pool import Server


async def connect(
    server: Server, address: Address, receivers: Mapping[bytes, Receive], *, timeout_s: float
) -> Connection:
    """Connect to one server and be let in.

    Raises Rejected `nats_auth` (it refuses the credentials) or `nats_tls` (certificates do not fit, or it speaks no
    TLS), and Unavailable `nats_unreachable` for anything that may pass.
    """
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout_s):
            connection = await _dial(server, address)
            await _introduce(connection, server, address)
            connection.receive(receivers)
            return connection
    except BaseException as error:
        if connection is not None:
            connection.abort()
        if isinstance(error, OSError | TimeoutError | errors.Unavailable):
            raise _explained(error, connection, server) from None
        raise


async def _dial(server: Server, address: Address) -> Connection:
    loop = asyncio.get_running_loop()
    first = address.tls if address.tls_first else None
    _, connection = await loop.create_connection(
        Connection,
        server.host,
        server.port,
        ssl=first,
        server_hostname=server.tls_name if first else None,
    )
    return connection


async def _introduce(connection: Connection, server: Server, address: Address) -> None:
    await connection.greeted
    if not address.tls_first and (address.tls or connection.info.tls_required):
        if not connection.info.tls_required and not connection.info.tls_available:
            raise _no_tls(server, "it does not speak TLS")
        await connection.secure(address.tls or ssl.create_default_context(), server.tls_name)
    options = _options(connection, address)
    connection.say(b"CONNECT " + json.dumps(options, separators=(",", ":")).encode())
    await connection.ping()


def _options(connection: Connection, address: Address) -> dict[str, Any]:
    """CONNECT's options; `protocol` 1 asks for INFO whenever it changes."""
    credentials, said = address.credentials, connection.info
    options: dict[str, Any] = {
        "verbose": False,
        "pedantic": False,
        "tls_required": address.tls is not None,
        "lang": "python-penstock",
        "version": penstock.__version__,
        "protocol": 1,
        "echo": True,
        "headers": True,
        "no_responders": said.headers,
        "name": address.name,
    }
    if credentials.signer is not None and said.nonce:
        signature = credentials.signer.sign(said.nonce.encode())
        options |= {"nkey": credentials.signer.public_key, "sig": _unpadded(signature)}
    if credentials.user:
        options |= {"user": credentials.user, "pass": credentials.password}
    if credentials.token:
        options["auth_token"] = credentials.token
    return options


def _unpadded(signature: bytes) -> str:
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _explained(error: Exception, connection: Connection | None, server: Server) -> errors.PenstockError:
    """What went wrong in words that hold no secret."""
    said = connection.complaint if connection is not None else None
    if said is not None and said.kind is complaint.Kind.CREDENTIALS:
        return errors.Rejected(
            "nats_auth",
            f"NATS at nats://{server} refuses the credentials",
            hint="Check the user and password (or token, or nkey) of PENSTOCK_NATS_URL.",
            status=401,
        )
    cause: BaseException | None = error
    if connection is not None and connection.ended.done():
        cause = connection.ended.result().__cause__
    if isinstance(cause, ssl.SSLError) and (reason := _lasting(cause)):
        return _no_tls(server, reason)
    if said is not None:
        return errors.Unavailable("nats_unreachable", f"NATS at nats://{server} says: {said.text}")
    return errors.Unavailable(
        "nats_unreachable", f"NATS at nats://{server} does not answer", hint="Is the server running?"
    )


def _lasting(error: ssl.SSLError) -> str:
    """Why certificates or versions do not fit; empty for what another attempt may mend."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason = str(error.reason or "")
    return reason.replace("_", " ").lower() if "ALERT" in reason or "VERSION" in reason else ""


def _no_tls(server: Server, reason: str) -> errors.Rejected:
    return errors.Rejected(
        "nats_tls",
        f"no TLS with NATS at nats://{server}: {reason}",
        hint="Check PENSTOCK_NATS__CA_FILE, PENSTOCK_NATS__CERTIFICATE_FILE and the server's certificate.",
    )
