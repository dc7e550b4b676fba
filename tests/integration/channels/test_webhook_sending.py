"""The webhook's sending against servers that misbehave: what was certainly not taken, and what nobody can know."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from penstock.base import errors, ids
from penstock.channels import ports
from penstock.channels.adapters import channel_webhook, http_connection
from penstock.channels.testing import webhook_simulator, webhook_trial
from penstock.messages.v1 import outbound_pb2
from tests.integration.channels import sending

CREDENTIALS = ports.Credentials(webhook_trial.SECRETS)
Behaviour = webhook_simulator.Behaviour

channel = sending.channel_fixture(lambda: channel_webhook.WebhookChannel(timeout_s=0.5))
simulator = sending.simulator_fixture(
    lambda: webhook_simulator.WebhookSimulator([secret.reveal() for secret in webhook_trial.SECRETS])
)


def send(channel, url, **fields):
    account = ports.Account(ids.TenantId("t"), ids.AccountId("acc"), ids.ChannelName("webhook"), "n", {"url": url})
    command = {"command_id": ids.new_id(), "account": "acc", "conversation": "room", "text": "hello", **fields}
    return channel.send(account, CREDENTIALS, outbound_pb2.SendCommand(**command))


@contextlib.asynccontextmanager
async def answering(*answers, tls=None):
    """A server whose n-th connection reads a request, writes the n-th answer and, unless it ends in None, hangs up."""
    waiting = list(answers)

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            answer = waiting.pop(0)
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                writer.write(answer[0])
                await writer.drain()
                await reader.read()  # until the client hangs up
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    scheme = "https" if tls else "http"
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=do-not-tell"
    finally:
        server.close()


TAKEN = b'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"message_id":"m-1"}'


@pytest.mark.parametrize(
    ("answer", "message_id"),
    [
        (TAKEN, "m-1"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok", ""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + TAKEN, "m-1"),
        (b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n14\r\n{"message_id":"m-1"}\r\n0\r\n\r\n', "m-1"),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 19\r\n\r\n{"message_id":null}', ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nbroken off", ""),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999\r\n\r\n" + b"x" * 999_999, ""),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nand then nothing",), ""),
        (b'HTTP/1.0 200 OK\r\n\r\n{"until":"the end"}', ""),
    ],
)
async def test_a_status_of_2xx_means_sent_whatever_becomes_of_the_body(channel, answer, message_id):
    async with answering(answer) as url:
        assert await send(channel, url) == ports.Sent(message_id)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * (http_connection.HEAD_BYTES + 70_000) + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n",
        (b"",),
        (b"HTTP/1.1 200 OK\r\n",),
    ],
)
async def test_without_an_answer_of_the_receiver_nobody_knows(channel, answer):
    async with answering(answer) as url:
        with pytest.raises(ports.Ambiguous) as caught:
            await send(channel, url)
    assert "do-not-tell" not in f"{caught.value!r}{caught.value}{caught.value.__cause__}{caught.value.__context__}"


@pytest.mark.parametrize(("status", "throttled"), [(408, False), (425, False), (429, True), (500, False), (503, False)])
async def test_refused_for_now_is_unavailable(channel, simulator, status, throttled):
    simulator.behave(Behaviour(status=status, retry_after="7"))
    with pytest.raises(errors.Unavailable) as caught:
        await send(channel, simulator.url)
    assert not isinstance(caught.value, ports.Ambiguous)
    assert (caught.value.after_s, caught.value.throttled) == (7.0, throttled)
    simulator.behave(Behaviour(status=status))
    with pytest.raises(errors.Unavailable) as caught:
        await send(channel, simulator.url)
    assert caught.value.after_s == channel_webhook.BACKOFF_S


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 410, 413, 422, 451])
async def test_any_other_answer_is_a_refusal_for_good_and_redirects_are_not_followed(channel, simulator, status):
    simulator.behave(Behaviour(status=status))
    with pytest.raises(errors.Rejected):
        await send(channel, simulator.url)
    assert len(simulator.arrivals) == 1


async def test_one_connection_is_used_again_and_again(channel, simulator):
    for _ in range(20):
        await send(channel, simulator.url)
    assert simulator.connections == 1


async def test_an_idle_connection_that_the_receiver_ended_leaves_no_doubt(channel, simulator):
    for _ in range(20):
        await send(channel, simulator.url)
        await simulator.hang_up()
    assert len(simulator.arrivals) == 20
    assert simulator.duplicates == 0


async def test_a_receiver_that_closes_each_connection_is_fine(channel):
    closing = TAKEN.replace(b"content-length", b"connection: close\r\ncontent-length")
    async with answering(closing, closing, closing) as url:
        for _ in range(3):
            assert await send(channel, url) == ports.Sent("m-1")


async def test_the_command_is_signed_and_its_id_is_the_webhook_id(channel, simulator):
    await send(channel, simulator.url, command_id="c-1")
    await send(channel, simulator.url, command_id="c-1")
    await send(channel, simulator.url, command_id="weird\r\nid: é")
    first, again, weird = simulator.arrivals
    assert first.webhook_id == again.webhook_id == "c-1"
    assert again.duplicate
    assert weird.webhook_id == ids.encode_token("weird\r\nid: é")
    assert weird.command.command_id == "weird\r\nid: é"


async def test_a_refused_url_is_a_refusal_without_a_request(channel, simulator):
    with pytest.raises(errors.Rejected):
        await send(channel, "http://example.org/hook")


async def test_sending_still_works_after_close(channel, simulator):
    await send(channel, simulator.url)
    await channel.close()
    await send(channel, simulator.url)
    assert len(simulator.arrivals) == 2


async def test_https_needs_a_certificate_that_we_trust(channel):
    server, client = contexts()
    async with answering(TAKEN, TAKEN, tls=server) as url:
        with pytest.raises(errors.Unavailable) as caught:
            await send(channel, url)
        assert caught.value.code == "tls_failed"
        trusting = channel_webhook.WebhookChannel(timeout_s=2.0, tls=client)
        assert await send(trusting, url) == ports.Sent("m-1")
        await trusting.close()


def contexts():
    """TLS for a server at 127.0.0.1, and for a client that trusts it and nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return _server_context(pem + private), ssl.create_default_context(cadata=pem.decode())


def _server_context(pem):
    import tempfile

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context
