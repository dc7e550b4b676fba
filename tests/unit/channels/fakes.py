"""The room's surroundings in memory: a platform, tables, tenants and a sealer that a test can steer."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from penstock.base import clock as clocks
from penstock.base import errors, ids, settings
from penstock.channels import errors as channel_errors
from penstock.channels import ports, registry
from penstock.channels.model import account as account_model
from penstock.channels.model import command as command_model
from penstock.channels.model import event
from penstock.channels.model import unknown as unknown_model
from penstock.channels.service import directory
from penstock.channels.store import accounts, commands, messages
from penstock.messages.v1 import message_pb2, outbound_pb2
from penstock.spine import ports as spine_ports

ACME, BETA = ids.TenantId("acme"), ids.TenantId("beta")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = outbound_pb2.Capabilities(reply=True, thread=True, edit=True, deletion=True, reaction=True, attachment=True)
REGISTRY = registry.parse(
    '[webhook]\ntitle = "Webhook"\naliases = ["hook"]\n[webhook.config.url]\nmeaning = "where"\nrequired = false\n'
    '[webhook.secret.signing]\nmeaning = "signs"\nmade = true\n'
    '[terminal]\ntitle = "Terminal"\n[terminal.secret.signing]\nmeaning = "signs"\nmade = true\n'
    '[calling]\ntitle = "Calls with a token"\n[calling.secret.signing]\nmeaning = "signs"\nmade = true\n'
    '[calling.secret.token]\nmeaning = "the bot\'s token"\nmade = false\n'
)


def account_id(letter: str = "a") -> ids.AccountId:
    return ids.AccountId("acc-" + letter * 26)


def account(
    tenant: ids.TenantId = ACME, letter: str = "a", *, channel: str = "webhook", disabled: bool = False
) -> ports.Account:
    return ports.Account(tenant, account_id(letter), ids.ChannelName(channel), f"shop {letter}", {}, disabled=disabled)


def message(event_id: str = "e1", text: str = "hello", **fields: object) -> message_pb2.Message:
    said = message_pb2.Message(event_id=event_id, conversation="room", text=text, **fields)  # type: ignore[arg-type]
    said.sender.id = "ana"
    return said


def command(command_id: str = "c1", text: str = "hi", **fields: object) -> outbound_pb2.SendCommand:
    defaults = {"tenant": "acme", "channel": "webhook", "account": account_id(), "conversation": "room"}
    said = outbound_pb2.SendCommand(command_id=command_id, text=text, **(defaults | fields))  # type: ignore[arg-type]
    said.created_at.FromDatetime(NOW)
    return said


def request(
    body: bytes = b"", *, method: str = "POST", headers: Mapping[str, str] | None = None
) -> ports.WebhookRequest:
    return ports.WebhookRequest(method, "/", "", {"signature": "right", **(headers or {})}, body, NOW)


class Platform:
    """A channel. `signature: right` is a signature; `reading` is what a request holds; `answers` are given in turn."""

    def __init__(self, name: str = "webhook", capabilities: outbound_pb2.Capabilities = ALL) -> None:
        self.name, self.capabilities = ids.ChannelName(name), capabilities
        self.reading = ports.Reading()
        self.calls: list[str] = []
        self.answers: list[ports.Sent | BaseException] = []
        self.sent: list[outbound_pb2.SendCommand] = []
        self.closed = False

    def check_config(self, config: Mapping[str, str]) -> None:
        if config.get("url", "https://x").startswith("http:"):
            raise errors.Rejected("bad_config", "config.url must be https", field="config.url")

    def check_secret(self, kind: ports.SecretKind, secret: settings.Secret) -> None:
        if "platform" in secret.reveal():
            raise errors.Rejected("bad_secret", "not on this platform", field="secret")

    def verify(self, request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
        self.calls.append("verify")
        if request.headers.get("signature") != "right" or not credentials.secrets:
            raise errors.Rejected("bad_signature", "no live secret signed this", status=401)

    def read(self, request: ports.WebhookRequest, account: ports.Account) -> ports.Reading:
        self.calls.append("read")
        copies = []
        for one in self.reading.messages:
            copy = message_pb2.Message()
            copy.CopyFrom(one)
            copies.append(copy)
        return dataclasses.replace(self.reading, messages=copies)

    async def send(
        self, account: ports.Account, credentials: ports.Credentials, command: outbound_pb2.SendCommand
    ) -> ports.Sent:
        self.sent.append(command)
        answer = self.answers.pop(0) if self.answers else ports.Sent(f"m{len(self.sent)}")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed = True


class Tenants:
    def __init__(self, *active: ids.TenantId) -> None:
        self.states = dict.fromkeys(active, "active")

    async def require_active(self, tenant: ids.TenantId) -> None:
        state = self.states.get(tenant, "")
        if state != "active":
            raise errors.Rejected("tenant_suspended", "not active", status=403 if state else 404)


class Book:
    """`ports.Accounts` over a dictionary."""

    def __init__(self, *accounts: ports.Account, secrets: Sequence[str] = ("whsec_1",)) -> None:
        self.accounts = {one.id: one for one in accounts}
        self.secrets = tuple(map(settings.Secret, secrets))
        self.away = False

    async def find(self, channel: str, account: str) -> tuple[ports.Account, ports.Credentials]:
        if self.away:
            raise errors.Unavailable("database_away", "away")
        found = self.accounts.get(ids.AccountId(account))
        if found is None or found.channel != channel:
            raise channel_errors.no_account()
        return found, ports.Credentials(self.secrets)


def where(book: ports.Accounts, tenants: ports.Tenants, *platforms: ports.Channel) -> directory.Directory:
    return directory.Directory(REGISTRY, {p.name: p for p in platforms}, book, tenants)


@dataclasses.dataclass
class MessageTable:
    """Messages and what their outbox would publish. `failing` is raised instead of committing."""

    rows: dict[tuple[str, str, str], bytes] = dataclasses.field(default_factory=dict)
    outbox: list[spine_ports.Outgoing] = dataclasses.field(default_factory=list)
    unknown: dict[tuple[str, str, str], unknown_model.Kept] = dataclasses.field(default_factory=dict)
    failing: Exception | None = None
    looks: int = 0

    async def add(
        self,
        account: ports.Account,
        events: Sequence[event.Event],
        outgoing: Sequence[spine_ports.Outgoing],
        unknown: Sequence[unknown_model.Kept] = (),
    ) -> messages.Recorded:
        if self.failing:
            raise self.failing
        known = len(self.unknown)
        for kept in unknown:
            self.unknown.setdefault((account.tenant, account.id, kept.event_id), kept)
        new, changed = set(), set()
        for one, out in zip(events, outgoing, strict=True):
            key = (account.tenant, account.id, one.message.event_id)
            if key not in self.rows:
                self.rows[key] = one.body_hash
                self.outbox.append(out)
                new.add(key[2])
            elif self.rows[key] != one.body_hash:
                changed.add(key[2])
        return messages.Recorded(frozenset(new), frozenset(changed), len(self.unknown) - known)

    async def latest(self, tenant: ids.TenantId, account: str, limit: int) -> list[tuple[str, unknown_model.Kept]]:
        found = [(key[1], dataclasses.replace(one, body=b"")) for key, one in self.unknown.items() if key[0] == tenant]
        found.sort(key=lambda each: (each[1].received_at, each[0], each[1].event_id), reverse=True)
        return [each for each in found if account in ("", each[0])][:limit]

    async def find(self, tenant: ids.TenantId, account: str, event_id: str) -> unknown_model.Kept | None:
        return self.unknown.get((tenant, account, event_id))

    async def held(self, tenant: ids.TenantId, account: str) -> tuple[int, int]:
        self.looks += 1
        bodies = [one.body for key, one in self.unknown.items() if key[:2] == (tenant, account)]
        return len(bodies), sum(map(len, bodies))


@dataclasses.dataclass
class Row:
    hash: bytes
    state: command_model.State
    holder: str
    attempts: int
    ambiguities: int = 0
    said: tuple[str, ...] = ()
    message_id: str = ""


class CommandTable:
    """Commands by the rules of `store.commands`. `lost_commits` makes that many writes commit without an answer,
    `refusing` makes that many fail.
    """

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}
        self.receipts: list[outbound_pb2.Receipt] = []
        self.said: list[commands.Reply] = []
        self.refuse_claims = self.refuse_finishes = self.lose_claims = self.lose_finishes = 0

    async def claim(
        self, command: outbound_pb2.SendCommand, *, holder: str, sending: bool
    ) -> command_model.Claimed | command_model.Settled:
        if self.refuse_claims:
            self.refuse_claims -= 1
            raise errors.Unavailable("database_away", "away")
        claimed = self._claim(command, holder, sending=sending)
        if self.lose_claims:
            self.lose_claims -= 1
            raise errors.Unavailable("commit_unknown", "lost")
        return claimed

    def _claim(
        self, command: outbound_pb2.SendCommand, holder: str, *, sending: bool
    ) -> command_model.Claimed | command_model.Settled:
        state = command_model.State.SENDING if sending else command_model.State.WAITING
        key, body_hash = (command.tenant, command.command_id), command_model.fingerprint(command)
        row = self.rows.get(key)
        if row is None:
            said = (command.account, command.conversation, command.app)
            self.rows[key] = Row(body_hash, state, holder, int(sending), said=said)
            return command_model.Claimed(int(sending), 0)
        if row.state.final or row.hash != body_hash:
            return command_model.Settled(row.state, same=row.hash == body_hash)
        was_sending = row.state is command_model.State.SENDING
        row.attempts += 0 if was_sending and row.holder == holder else int(sending)
        row.ambiguities += int(was_sending and row.holder != holder)
        row.state, row.holder = state, holder
        return command_model.Claimed(row.attempts, row.ambiguities)

    async def finish(
        self,
        command: outbound_pb2.SendCommand,
        outcome: command_model.Outcome,
        *,
        holder: str,
        receipt: spine_ports.Outgoing | None,
        numbered: bool,
    ) -> bool:
        if self.refuse_finishes:
            self.refuse_finishes -= 1
            raise errors.Unavailable("database_away", "away")
        row = self.rows[command.tenant, command.command_id]
        if row.holder != holder or row.state.final:
            return False
        row.state, row.attempts, row.ambiguities = outcome.state, outcome.attempts, outcome.ambiguities
        row.message_id = outcome.message_id
        if receipt:
            self.receipts.append(outbound_pb2.Receipt.FromString(receipt.body))
        if numbered:
            self.said.append(commands.Reply(len(self.said) + 1, command, outcome.message_id, NOW))
        if self.lose_finishes:
            self.lose_finishes -= 1
            raise errors.Unavailable("commit_unknown", "lost")
        return True

    async def target(self, command: outbound_pb2.SendCommand) -> str:
        row = self.rows.get((command.tenant, command.target_command_id))
        said = (command.account, command.conversation, command.app)
        return row.message_id if row and row.state is command_model.State.SENT and row.said == said else ""

    async def latest(self, tenant: ids.TenantId, account: str) -> int:
        return max((r.sequence for r in await self.replies(tenant, account, after=0, limit=10**6)), default=0)

    async def replies(self, tenant: ids.TenantId, account: str, *, after: int, limit: int) -> Sequence[commands.Reply]:
        own = [r for r in self.said if r.command.tenant == tenant and r.command.account == account]
        return [r for r in own if r.sequence > after][:limit]


class Sealer:
    """Seals by writing down what for; opening for something else fails. `locked`: the key is not there."""

    locked = False

    async def seal(self, tenant: str, purpose: str, owner: str, plain: bytes) -> bytes:
        return f"{tenant} {purpose} {owner}|".encode() + plain

    async def open(self, tenant: str, purpose: str, owner: str, sealed: bytes) -> bytes:
        if self.locked:
            raise errors.Rejected("sealing_key_wrong", "another key")
        prefix, _, plain = sealed.partition(b"|")
        if prefix != f"{tenant} {purpose} {owner}".encode():
            raise errors.Broken("seal_broken", "sealed for something else")
        return plain


class AccountTable:
    """Accounts by the rules of `store.accounts`, counting how often they are looked for."""

    def __init__(self) -> None:
        self.rows: dict[str, ports.Account] = {}
        self.secrets: dict[str, list[account_model.SealedSecret]] = {}
        self.looks = 0
        self.away = False

    async def find(self, account: str) -> accounts.FoundAccount | None:
        self.looks += 1
        if self.away:
            raise errors.Unavailable("database_away", "away")
        found = self.rows.get(account)
        return accounts.FoundAccount(found, self.secrets[account][::-1]) if found else None

    async def insert(self, account: ports.Account, secrets: Sequence[account_model.SealedSecret]) -> None:
        if any(one.tenant == account.tenant and one.name == account.name for one in self.rows.values()):
            raise errors.Rejected("conflict", "exists already", status=409)
        self.rows[account.id] = account
        self.secrets[account.id] = list(secrets)

    async def list(self, tenant: ids.TenantId) -> list[account_model.AccountDetails]:
        return [await self._details(one) for one in self.rows.values() if one.tenant == tenant]

    async def details(self, tenant: ids.TenantId, account: str) -> account_model.AccountDetails | None:
        found = self.rows.get(account)
        return await self._details(found) if found and found.tenant == tenant else None

    async def _details(self, found: ports.Account) -> account_model.AccountDetails:
        secrets = [account_model.SecretDetails(s.id, s.kind, NOW, None) for s in self.secrets[found.id]]
        return account_model.AccountDetails(found, NOW, NOW if found.disabled else None, secrets)

    async def add_secret(self, tenant: ids.TenantId, account: str, secret: account_model.SealedSecret) -> bool:
        live = self.secrets[account]
        if sum(one.kind == secret.kind for one in live) >= account_model.LIVE_SECRETS:
            return False
        live.append(secret)
        return True

    async def retire_secret(self, tenant: ids.TenantId, account: str, secret: str) -> bool:
        left = [s for s in self.secrets[account] if s.id != secret]
        changed = len(left) < len(self.secrets[account])
        self.secrets[account] = left
        return changed

    async def set_disabled(self, tenant: ids.TenantId, account: str, *, disabled: bool) -> bool:
        found = self.rows.get(account)
        if found is None or found.tenant != tenant:
            return False
        self.rows[account] = dataclasses.replace(found, disabled=disabled)
        return True

    async def change(self, before: ports.Account, after: ports.Account) -> bool:
        if any(o.tenant == after.tenant and o.name == after.name and o.id != after.id for o in self.rows.values()):
            raise errors.Rejected("conflict", "exists already", status=409)
        if self.rows.get(before.id) != before:
            return False
        self.rows[before.id] = after
        return True


def clock() -> clocks.ManualClock:
    return clocks.ManualClock(NOW)
