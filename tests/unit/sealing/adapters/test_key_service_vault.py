"""What the adapter sends, and what it makes of every answer: none of it shows a token, a key or the server's words."""

import asyncio
import base64
import hashlib
import json

import httpx
import pytest

from penstock.base import errors, settings
from penstock.sealing.adapters import key_service_vault

TOKEN = "hvs.a-token-that-nobody-shall-see"
SECRET, PLACE = bytes(range(32)), b"a place"


def service(handle, **options):
    """The adapter over a transport that answers by itself."""
    access = key_service_vault.Access(**{"token": settings.Secret(TOKEN), **options.pop("access", {})})
    made = key_service_vault.VaultKeyService("http://127.0.0.1:8200", access=access, **options)
    made._client = httpx.AsyncClient(transport=httpx.MockTransport(handle))
    return made


def answering(status, body):
    return lambda _: httpx.Response(status, content=body if isinstance(body, bytes) else json.dumps(body))


async def test_a_call_is_what_the_documentation_shows():
    seen = []

    def handle(request):
        seen.append(request)
        return httpx.Response(200, json={"data": {"ciphertext": "vault:v1:abc", "key_version": 1}})

    made = service(handle, mount="keys/ours", key="shop", access={"namespace": "team"})
    assert await made.wrap(SECRET, PLACE) == b"vault:v1:abc"
    [request] = seen
    assert (request.method, str(request.url)) == ("POST", "http://127.0.0.1:8200/v1/keys/ours/encrypt/shop")
    assert (request.headers["x-vault-token"], request.headers["x-vault-namespace"]) == (TOKEN, "team")
    plain = base64.b64decode(json.loads(request.content)["plaintext"])
    assert plain == SECRET + hashlib.sha256(PLACE).digest()
    assert made.id == "vault:keys/ours/shop"


@pytest.mark.parametrize("status", [307, 412, 429, 472, 473, 500, 502, 503, 504])
async def test_a_server_that_is_not_ready_is_waited_for(status):
    for body in ({"errors": ["Vault is sealed"]}, b"<html>", b""):
        with pytest.raises(errors.Unavailable) as raised:
            await service(answering(status, body)).wrap(SECRET, PLACE)
        assert raised.value.code == "key_service_away"
        assert "Vault is sealed" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (403, "permission denied"),
        (404, "no handler for route"),
        (405, "unsupported operation"),
        (400, "encryption key not found"),
        (400, "ciphertext or signature version is disallowed by policy (too old)"),
    ],
)
async def test_a_server_that_says_no_is_not_asked_again(status, words):
    with pytest.raises(errors.Rejected) as raised:
        await service(answering(status, {"errors": [words]})).unwrap(b"vault:v1:abc", PLACE)
    assert raised.value.code == "key_service_refused"
    assert words not in str(raised.value)


async def test_a_wrapped_key_that_it_does_not_take_is_broken():
    with pytest.raises(errors.Broken):
        await service(answering(400, {"errors": ["cipher: message authentication failed"]})).unwrap(b"x", PLACE)


@pytest.mark.parametrize("body", [{}, [], {"data": None}, {"data": {}}, {"data": {"plaintext": 7}}, b"\xff", b""])
async def test_an_answer_that_is_none_is_no_key(body):
    with pytest.raises(errors.Unavailable):
        await service(answering(200, body)).unwrap(b"vault:v1:abc", PLACE)


@pytest.mark.parametrize("plain", [b"", SECRET, SECRET + bytes(32), SECRET[:-1] + hashlib.sha256(PLACE).digest()])
async def test_a_key_of_another_place_or_size_is_broken(plain):
    body = {"data": {"plaintext": base64.b64encode(plain).decode() or "="}}
    with pytest.raises(errors.Broken):
        await service(answering(200, body)).unwrap(b"vault:v1:abc", PLACE)


async def test_what_goes_wrong_on_the_way_is_told_by_its_name_only():
    def handle(request):
        raise httpx.ConnectError(f"cannot reach {request.url} with {TOKEN}")

    with pytest.raises(errors.Unavailable) as raised:
        await service(handle).wrap(SECRET, PLACE)
    assert raised.value.detail == "the key service does not answer (ConnectError)"


async def test_an_answer_that_trickles_in_ends_with_the_time_that_one_call_may_take():
    """The client counts the time between two pieces of an answer: here each is punctual, and the last one never."""

    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self):
            while True:
                await asyncio.sleep(0)
                yield b" "

    async with asyncio.timeout(50):
        with pytest.raises(errors.Unavailable) as raised:
            await service(lambda _: httpx.Response(200, stream=Trickle()), timeout_s=0.1).wrap(SECRET, PLACE)
    assert raised.value.code == "key_service_away"


@pytest.mark.parametrize(
    "url",
    [
        "http://vault.example.org:8200",
        "https://user:password@vault.example.org",
        "https://vault.example.org/v1?token=x",
        "https://vault.example.org/behind",
        "ftp://vault.example.org",
        "vault.example.org",
        "https://",
        "https://vault.example.org:eighty",
        "",
    ],
)
def test_an_address_that_would_show_the_token_or_is_none_is_refused_without_being_quoted(url):
    access = key_service_vault.Access(token=settings.Secret(TOKEN))
    with pytest.raises(errors.Rejected) as raised:
        key_service_vault.VaultKeyService(url, access=access)
    assert raised.value.field == "sealing.vault_url"
    assert "password" not in str(raised.value)


@pytest.mark.parametrize("name", ["", "../sys", "a//b", "a/../b", "/a", "a/", "a b", "a?b", "a%2fb", "é"])
def test_names_do_not_lead_elsewhere(name):
    access = key_service_vault.Access(token=settings.Secret(TOKEN))
    for field in ("mount", "key"):
        with pytest.raises(errors.Rejected):
            key_service_vault.VaultKeyService("https://vault.example.org", access=access, **{field: name})


async def test_the_token_is_read_again_for_each_call_and_only_from_a_private_file(tmp_path):
    seen, file = [], tmp_path / "token"

    def handle(request):
        seen.append(request.headers["x-vault-token"])
        return httpx.Response(200, json={"data": {"ciphertext": "vault:v1:abc"}})

    made = service(handle, access={"token": None, "token_file": file})
    for text in ("first\n", " second "):
        file.write_text(text)
        file.chmod(0o600)
        await made.wrap(SECRET, PLACE)
    assert seen == ["first", "second"]
    for text, mode in (("", 0o600), ("two\nlines", 0o600), ("good", 0o644)):
        file.write_text(text)
        file.chmod(mode)
        with pytest.raises(errors.Rejected) as raised:
            await made.wrap(SECRET, PLACE)
        assert raised.value.code == "key_service_refused"
        assert "lines" not in str(raised.value)
    file.unlink()
    with pytest.raises(errors.Rejected):
        await made.wrap(SECRET, PLACE)
    assert seen == ["first", "second"]


def test_without_a_token_or_with_a_file_that_is_no_certificate_it_does_not_start(tmp_path):
    with pytest.raises(errors.Rejected):
        key_service_vault.Access()
    (tmp_path / "ca.pem").write_text("no certificate")
    for file in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(errors.Rejected) as raised:
            key_service_vault.Access(token=settings.Secret(TOKEN), ca_file=file).verified_by()
        assert raised.value.field == "sealing.vault_ca_file"
