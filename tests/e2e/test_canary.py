"""Distinctive secrets and words go in everywhere, everything goes wrong, and then they are looked for everywhere.

Secrets of accounts, of apps, of servers, of the key service and of the collector must be nowhere but in the files that
exist to hold them; what people wrote must be in tables and streams alone.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from pathlib import Path

import httpx
import pytest

from penstock.channels.testing import webhook_sender
from tests import loopback
from tests.e2e import canaries, conversation, installation, processes
from tests.integration.sealing import vault as vaults
from tests.integration.telemetry import collector as collectors

CARELESS = Path(__file__).with_name("careless_app.py")
WORDS = canaries.fresh("words", private=True)
NAME = canaries.fresh("name", private=True)
APP = canaries.fresh("app-environment")
KEY = canaries.Canary("an old sealing key", secrets.token_hex(32))
COLLECTOR = canaries.fresh("collector-key")
WRONG = canaries.fresh("wrong-password")
TELEGRAM_WORD = canaries.fresh("telegram-word")
TELEGRAM_TOKEN = canaries.Canary("a bot's token", f"7001234567:{secrets.token_hex(18)}")


class Stage:
    """A running installation, what verbs printed, what strangers were answered, and what is watched for."""

    def __init__(self, running: installation.Installation, folder: Path) -> None:
        self.running, self.folder = running, folder
        self.printed: list[tuple[str, str]] = []
        self.exports = folder / "exports"
        self.answered: list[tuple[str, str]] = []

    async def verbs(self, asked: Sequence[tuple[Sequence[str], Mapping[str, str]]]) -> list[int]:
        """Run verbs, each with variables of its own, and keep what they print; their exit codes.

        Two at a time: most of what a verb takes is to start.
        """
        turns = asyncio.Semaphore(2)

        async def one(arguments: Sequence[str], more: Mapping[str, str]) -> int:
            async with turns:
                code, out, err = await installation.run({**self.running.environ, **more}, *arguments)
            self.printed.append((" ".join(arguments[:3]), out + err))
            return code

        return await asyncio.gather(*(one(*each) for each in asked))

    async def ask(self, method: str, path: str, **options: object) -> int:
        """A request of a stranger's, and keep what came back."""
        async with httpx.AsyncClient(timeout=30) as client:
            response = await client.request(method, f"{self.running.http_url}{path}", **options)
        self.answered.append((f"{method} {path}", f"{response.headers}\n{response.text}"))
        return response.status_code


def environment(folder: Path, vault: vaults.Vault, collector: collectors.Collector) -> dict[str, str]:
    """Everything that can be told is told: lowest log levels, every span, a key service, an old key, a collector."""
    return installation.environment(
        folder,
        PENSTOCK_TELEMETRY__LOG_LEVEL="debug",
        PENSTOCK_SDK__LOG_LEVEL="debug",
        PENSTOCK_TELEMETRY__OTLP_ENDPOINT=collector.url,
        PENSTOCK_TELEMETRY__OTLP_HEADERS=f"x-collector-key={COLLECTOR.text}",
        PENSTOCK_SEALING__SERVICE="vault",
        PENSTOCK_SEALING__VAULT_URL=vault.url,
        PENSTOCK_SEALING__VAULT_TOKEN=vault.token,
        PENSTOCK_SEALING__OLD_KEY=KEY.text,
        PENSTOCK_CHANNELS__RESENDS="0",
    )


@pytest.fixture(scope="module")
def collector() -> Generator[collectors.Collector]:
    with collectors.Collector() as listening:
        yield listening


@pytest.fixture
def vault(folder: Path) -> Generator[vaults.Vault]:
    place = folder / "vault"
    place.mkdir()
    with vaults.running(place) as running:
        yield running


@contextlib.asynccontextmanager
async def careless(stage: Stage) -> AsyncGenerator[installation.Command]:
    """The app as a process whose output is kept, once it listens."""
    port = loopback.free_port()
    ours = {name: text for name, text in stage.running.environ.items() if not name.startswith("PENSTOCK_SEALING")}
    environ = {**ours, "PENSTOCK_TENANT": "acme", "PENSTOCK_SDK__PROBE_PORT": str(port), "CARELESS_SECRET": APP.text}
    command = installation.Command(environ, program=(sys.executable, str(CARELESS)))
    try:
        async with httpx.AsyncClient() as client:
            ready = False
            async with asyncio.timeout(60):
                while not ready:
                    with contextlib.suppress(httpx.HTTPError):
                        ready = (await client.get(f"http://127.0.0.1:{port}/ready")).status_code == 200
                    await asyncio.sleep(0.05)
            stage.answered.append(("app metrics", (await client.get(f"http://127.0.0.1:{port}/metrics")).text))
        yield command
    finally:
        await command.close()


async def telegram_account(stage: Stage) -> str:
    """An account whose token stands in the URLs that it calls, of a platform that nobody answers at; its path."""
    sources: list[str] = []
    for kind, canary in (("signing", TELEGRAM_WORD), ("token", TELEGRAM_TOKEN)):
        file = stage.folder / kind
        file.write_text(canary.text)
        sources += ["--secret", f"{kind}=@{file}"]
    nobody = f"api_url=http://127.0.0.1:{loopback.free_port()}"
    made = await stage.running.cli(
        "account", "create", "bot", "-t", "acme", "-c", "telegram", "--set", nobody, *sources
    )
    return f"/webhooks/telegram/{made['id']}"


async def converse(stage: Stage, platform: conversation.Platform, telegram: str) -> None:
    """Words in, answers out; and an answer for which a token is needed that nobody takes."""
    for number in range(3):
        posted = await platform.say(f"room-{number}", f"{WORDS.text} {number}", sender=NAME.text)
        assert posted.ok
    await platform.until(lambda: len(platform.arrivals) >= 3, timeout_s=60)
    update = {
        "update_id": 1,
        "message": {
            "message_id": 1,
            "date": 1_800_000_000,
            "chat": {"id": 42, "type": "private", "first_name": NAME.text},
            "from": {"id": 42, "is_bot": False, "first_name": NAME.text},
            "text": WORDS.text,
        },
    }
    word = {"x-telegram-bot-api-secret-token": TELEGRAM_WORD.text}
    assert await stage.ask("POST", telegram, json=update, headers=word) == 200


async def strangers(stage: Stage, platform: conversation.Platform, telegram: str) -> None:
    """Everything that is refused on the way in, with words and secrets in it."""
    path = platform.webhook_url.removeprefix(stage.running.http_url)
    body = json.dumps({"text": WORDS.text, "sender": NAME.text})
    token = {"x-telegram-bot-api-secret-token": WRONG.text, "authorization": f"Bearer {TELEGRAM_TOKEN.text}"}
    statuses = [
        await stage.ask("POST", path, content=body),
        await stage.ask("POST", path, content=body, headers={"webhook-signature": WRONG.text}),
        await stage.ask("POST", telegram, content=body, headers=token),
        await stage.ask("POST", telegram, content=f"[{WORDS.text}", headers={**token, "content-type": "text/plain"}),
        await stage.ask("POST", f"/webhooks/webhook/acc-{WORDS.text}", content=body),
        await stage.ask("POST", f"{path}/{WORDS.text}?{WORDS.text}", content=body),
        await stage.ask("PUT", path, content=body),
    ]
    assert all(400 <= status < 500 for status in statuses), statuses
    broken = webhook_sender.Forgery(body=b'{"text": "' + WORDS.text.encode())
    for forgery in (broken, webhook_sender.Forgery(wrong_secret=True), webhook_sender.Forgery(age_s=4000)):
        posted = await platform.say("room-1", WORDS.text, sender=NAME.text, forgery=forgery)
        stage.answered.append(("POST a forgery", posted.answer.decode()))
        assert 400 <= posted.status < 500
    for probe in ("/health", "/ready", "/metrics", "/openapi.json", "/nothing"):
        await stage.ask("GET", probe)


async def what_breaks(stage: Stage, platform: conversation.Platform) -> None:
    """Messages that an app breaks on, gives up and dies of; servers and the core that are killed."""
    running = stage.running
    async with careless(stage) as app:
        for number, end in enumerate(("break", "poison")):
            await platform.say(f"sad-{number}", f"{WORDS.text} {end}", sender=NAME.text)
        await _until_quarantined(stage)
        await platform.say("sad-2", f"{WORDS.text} die", sender=NAME.text)
        assert await app.ended() == -signal.SIGKILL
    for server in ("postgres", "nats"):
        os.kill(running.server_pid(server), signal.SIGKILL)
        await platform.say("room-1", f"{WORDS.text} {server}", sender=NAME.text)
        await running.answers(timeout_s=90)
    core = running.core_pid()
    os.kill(core, signal.SIGKILL)
    await processes.until(lambda: running.core_pid() not in {0, core}, "the core is started again", timeout_s=60)
    await running.answers(timeout_s=90)


async def _until_quarantined(stage: Stage) -> None:
    async with asyncio.timeout(60):
        while not await stage.running.cli("quarantine", "ls", "-t", "acme"):
            await asyncio.sleep(0.1)


async def exports(stage: Stage, platform: conversation.Platform) -> None:
    """What is known about somebody, which is their words, and no secret."""
    stage.exports.mkdir()
    owner = ("-t", "acme", "-a", platform.webhook_url.rpartition("/")[2])
    file = str(stage.exports / "person.ndjson")
    await stage.running.cli("person", "export", *owner, "-s", NAME.text, "--to", file)
    assert WORDS.text in (stage.exports / "person.ndjson").read_text()


async def operators(stage: Stage) -> None:
    """Verbs as they are meant, and as somebody gets them wrong with a secret in hand."""
    [account, *_] = await stage.running.cli("account", "ls", "-t", "acme")
    meant = [
        ("doctor", "--json"),
        ("account", "show", account["id"], "-t", "acme"),
        ("account", "show", account["id"], "-t", "acme", "--json"),
        ("quarantine", "ls", "-t", "acme"),
        ("quarantine", "ls", "-t", "acme", "--json"),
        ("outbox", "ls", "-t", "acme"),
        ("stream", "ls", "--json"),
        ("secret", "status", "--json"),
        ("secret", "rekey", "--data-keys"),
    ]
    assert await stage.verbs([(arguments, {}) for arguments in meant]) == [0] * len(meant)
    elsewhere = {"PENSTOCK_DATA": str(stage.folder / "elsewhere")}
    by_key = {"PENSTOCK_SEALING__SERVICE": "key", "PENSTOCK_SEALING_KEY": WRONG.text}
    codes = await stage.verbs(
        [
            (("tenant", "ls"), {**elsewhere, "PENSTOCK_POSTGRES_URL": f"postgresql://u:{WRONG.text}@127.0.0.1:1/x"}),
            (("tenant", "ls"), {**elsewhere, "PENSTOCK_POSTGRES_URL": f"postgresql:/{WRONG.text}"}),
            (("tenant", "ls"), by_key),
            (("tenant", "ls"), {"PENSTOCK_SEALING__VAULT_URL": f"https://u:{WRONG.text}@vault.example.org"}),
            (("account", "secret", "add", account["id"], "-t", "acme"), {"PENSTOCK_SEALING__VAULT_TOKEN": WRONG.text}),
            (("run", "channels"), {"PENSTOCK_NATS_URL": f"nats//{WRONG.text}", "PENSTOCK_POSTGRES_URL": WRONG.text}),
            (("up",), {**elsewhere, "PENSTOCK_NATS_URL": f"nats://u:{WRONG.text}@127.0.0.1:1"}),
            (("account", "create", "x", "-t", "acme", "-c", "telegram", "--secret", "token=@/nowhere"), {}),
        ]
    )
    assert 0 not in codes


def test_a_canary_is_found_however_it_is_written() -> None:
    """The watch itself can fail: it finds each form of a text, within others, and leaves alone where it may be."""
    found = canaries.fresh("probe", private=True)
    raw = found.text.encode()
    for shift in range(3):
        written = {
            b"x" + raw,
            raw.hex().encode(),
            canaries.base64.b64encode(b"abc"[:shift] + raw + b"more"),
            canaries.base64.urlsafe_b64encode(b"abc"[:shift] + raw),
        }
        for text in written:
            watch = canaries.Watch([found])
            watch.look("somewhere", b"before " + text + b" after")
            assert watch.found == ["probe is in somewhere"]
    watch = canaries.Watch([found])
    watch.look("tables", raw, private=True)
    watch.look("logs", b"nothing")
    assert watch.found == []


@pytest.mark.slow
@pytest.mark.timeout(420)
async def test_no_secret_and_no_word_is_where_it_does_not_belong(
    folder: Path, vault: vaults.Vault, collector: collectors.Collector
) -> None:
    async with installation.up(environment(folder, vault, collector)) as running:
        stage = Stage(running, folder)
        async with conversation.account(running, "acme", patience_s=90) as platform:
            telegram = await telegram_account(stage)
            async with careless(stage):
                await converse(stage, platform, telegram)
            await strangers(stage, platform, telegram)
            await what_breaks(stage, platform)
            await exports(stage, platform)
            await operators(stage)
            signing = canaries.Canary("a signing secret", platform._newest)
        given = [WORDS, NAME, APP, KEY, COLLECTOR, WRONG, TELEGRAM_WORD, TELEGRAM_TOKEN]
        made = [signing, canaries.Canary("the key service's token", vault.token), *canaries.of_servers(running.data)]
        watch = canaries.Watch([*given, *made])
        assert watch.look_at_processes(folder) >= 4
        await stage.ask("GET", "/metrics")
        watch.look_at_files(running.data, ours={"nats/accounts.conf": "the server reads its users there"})
    for name, content in canaries.everything_below(folder, ".out", ".err"):
        watch.look(f"logs {name}", content)
    for name, text in stage.printed:
        watch.look(f"verbs {name}", text)
    for name, text in stage.answered:
        watch.look(f"answers {name}", text)
    for name, content in canaries.everything_below(stage.exports, ""):
        watch.look(f"exports {name}", content, private=True)
    collector.until(lambda: len(collector.spans) > 20, "spans arrive")
    watch.look("traces", f"{collector.spans}{collector.resources}")
    assert watch.found == []
    assert any(COLLECTOR.text in headers.values() for headers in collector.headers), "the collector was told its key"
    for kind, least in {
        "processes": 100,
        "files": 1 << 20,
        "logs": 2000,
        "verbs": 500,
        "answers": 2000,
        "exports": 100,
    }.items():
        assert watch.looked[kind] > least, kind
