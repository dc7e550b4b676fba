"""The half of the simulated Zoho Cliq that talks to Penstock: people say things, the bot's handlers post them signed.

Events have the shapes of the pages below https://www.zoho.com/cliq/help/platform/bot-handlers.html; a handler signs
with https://www.zoho.com/deluge/help/encryption/hmac-sha256.html and posts with `invokeurl`. What is not answered 2xx
is posted again while there is patience.
"""

import base64
import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.base import clock as clocks
from penstock.channels.testing import cliq_platform, posting, simulator

WRONG_SECRET: Final = "a-secret-that-nobody-agreed-on"
"""A well-formed signing secret that no account has."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forgery:
    """What is wrong with a request on purpose; nothing by default.

    `second_secret`: signed with the older live secret. `without`: headers left out. `body`: sent instead of what was
    signed. `signature`: sent instead of the right one.
    """

    wrong_secret: bool = False
    second_secret: bool = False
    without: frozenset[str] = frozenset()
    body: bytes | None = None
    signature: str | None = None
    content_type: str = "application/json"


_HONEST: Final = Forgery()


def signature(secret: str, body: bytes, *, encoding: str = "base64") -> str:
    """What `zoho.encryption.hmacsha256` gives: base64 unless `hex` is asked for."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


class CliqSender(posting.Posting):
    """Posts events to the URL of an account.

    `signing`: the account's signing secrets, newest first. `encoding`: how signatures are written. `patience_s`: for
    how long an event that was not answered 2xx is posted again; 0: once only.
    """

    def __init__(
        self,
        signing: Sequence[str],
        *,
        platform: cliq_platform.CliqPlatform,
        clock: clocks.Clock,
        patience_s: float,
    ) -> None:
        super().__init__(patience_s, insists=False)
        self.signing, self.platform, self.clock = list(signing), platform, clock
        self.encoding = "base64"

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        thread: str = "",
        reply_to: str = "",
        sender: str = "ann",
        forgery: Forgery = _HONEST,
    ) -> simulator.Posted:
        """Somebody says something: to the bot alone (`@ann` is who), or in a channel, where the bot takes part."""
        chat = self.platform.chat(conversation)
        thread_id = self.platform.thread(chat, thread) if thread else ""
        author = chat.person or self.platform.person(sender)
        post = self.platform.add(chat, author, text, reply_to=reply_to, thread=thread_id)
        return await self._tell(chat, post, forgery)

    async def mention(self, conversation: str, text: str, *, sender: str = "ann") -> tuple[simulator.Posted, ...]:
        """Somebody names the bot in a channel, which hears of it twice: as a participant and as who was named."""
        chat = self.platform.chat(conversation)
        post = self.platform.add(chat, self.platform.person(sender), f"@Garden Bot {text}")
        user = _user(post.author)
        named = {"id": post.message_id, "sender": user, "time": _time(post), "text": post.text, "type": "text"}
        bot = {"name": "Garden Bot", "id": self.platform.bot_id, "type": "bot"}
        params = {**self._where(chat, post), "message": named, "mentions": [bot]}
        return (
            await self._tell(chat, post, _HONEST),
            await self.post_event("mention_handler", params, known_as=_known_as(chat, post)),
        )

    async def attach(self, conversation: str, name: str, content: bytes, *, text: str = "") -> simulator.Posted:
        """Somebody sends a file, of which the bot is told where it is."""
        chat = self.platform.chat(conversation)
        file = {
            "name": name,
            "id": hashlib.sha256(content).hexdigest(),
            "type": "application/octet-stream",
            "dimensions": {"size": len(content)},
        }
        post = self.platform.add(chat, chat.person or self.platform.person("ann"), text, file=file)
        return await self._tell(chat, post, _HONEST)

    async def edit(self, conversation: str, message_id: str, text: str) -> simulator.Posted:
        """Somebody changes what a message in a channel says; with one person, the bot does not hear of it."""
        chat, post = self._existing(conversation, message_id)
        post.text = text
        return await self._participate(chat, post, "message_edited", _said(chat, post))

    async def delete(self, conversation: str, message_id: str) -> simulator.Posted:
        """Somebody takes a message in a channel back."""
        chat, post = self._existing(conversation, message_id)
        post.deleted = True
        return await self._participate(chat, post, "message_deleted", {"id": post.message_id})

    async def react(self, conversation: str, message_id: str, reaction: str) -> simulator.Posted:
        """Somebody puts an emoji on a message, of which no bot hears: never possible here."""
        raise NotImplementedError(f"Cliq tells no bot that {message_id} of {conversation} has a {reaction}")

    async def repeat(self, posted: simulator.Posted) -> simulator.Posted:
        """Deliver the same event again."""
        return dataclasses.replace(posted, status=await self.deliver(posted.body))

    async def post_event(
        self,
        handler: str,
        params: Mapping[str, Any],
        *,
        known_as: str = "",
        message_id: str = "",
        forgery: Forgery = _HONEST,
    ) -> simulator.Posted:
        """Post any event of a handler. `known_as`: what Penstock shall know it by."""
        frame = {"name": "Garden Bot", "unique_name": self.platform.bot, "handler": {"type": handler}, "type": "bot"}
        body = json.dumps({**frame, "timestamp": self._now(), "params": params}, ensure_ascii=False).encode()
        return simulator.Posted(known_as, message_id, await self.deliver(body, forgery=forgery), body)

    async def deliver(self, body: bytes, *, forgery: Forgery = _HONEST) -> int:
        """Sign a body and post it, again while there is patience: the status of the last answer, 0 without any."""
        sent = body if forgery.body is None else forgery.body
        return (await self._post(lambda _: self.sign(body, forgery), sent)).status

    def sign(self, body: bytes, forgery: Forgery = _HONEST) -> dict[str, str]:
        """The headers of a request with this body, forged as told."""
        secret = WRONG_SECRET if forgery.wrong_secret else self.signing[1 if forgery.second_secret else 0]
        right = signature(secret, body, encoding=self.encoding)
        headers = {
            "content-type": forgery.content_type,
            "x-cliq-signature": right if forgery.signature is None else forgery.signature,
        }
        return {name: value for name, value in headers.items() if name not in forgery.without}

    async def _tell(self, chat: cliq_platform.Chat, post: cliq_platform.Post, forgery: Forgery) -> simulator.Posted:
        if not chat.person:
            return await self._participate(chat, post, "message_sent", _said(chat, post), forgery)
        params = self._where(chat, post)
        access = {name: value for name, value in params["access"].items() if name != "organization"}
        said = {name: value for name, value in _said(chat, post).items() if name != "id"}
        details = {"message": said, "time": int(_time(post))}
        direct = {"access": {**access, "message_id": post.message_id}, "message": post.text, "message_details": details}
        return await self.post_event(
            "message_handler",
            {**params, **direct},
            known_as=_known_as(chat, post),
            message_id=post.message_id,
            forgery=forgery,
        )

    async def _participate(
        self,
        chat: cliq_platform.Chat,
        post: cliq_platform.Post,
        operation: str,
        message: Mapping[str, Any],
        forgery: Forgery = _HONEST,
    ) -> simulator.Posted:
        is_new = operation == "message_sent"
        data = {"message": message, "time": int(_time(post)) if is_new else self._now()}
        return await self.post_event(
            "participation_handler",
            {**self._where(chat, post), "operation": operation, "data": data},
            known_as=_known_as(chat, post) if is_new else "",
            message_id=post.message_id if is_new else "",
            forgery=forgery,
        )

    def _where(self, chat: cliq_platform.Chat, post: cliq_platform.Post) -> dict[str, Any]:
        """Access, user and chat, as every handler gets them."""
        place = post.thread or chat.id
        organisation = {"type": "company", "id": cliq_platform.ORGANISATION}
        access = {"user_id": post.author, "organization": organisation, "chat_id": place}
        shown: dict[str, Any] = {"id": chat.id, "type": "channel", "title": f"#{chat.channel}"}
        shown |= {"channel_unique_name": chat.channel, "channel_id": f"O{chat.id[3:12]}"}
        if chat.person:
            shown = {"id": chat.id, "type": "bot", "title": "Garden Bot"}
        elif post.thread:
            shown = {"id": post.thread, "type": "thread", "title": "a thread", "parent_resource": shown}
            access["parent_chat_id"] = chat.id
        return {"access": access, "user": _user(post.author), "chat": shown}

    def _existing(self, conversation: str, message_id: str) -> tuple[cliq_platform.Chat, cliq_platform.Post]:
        chat = self.platform.chat(conversation)
        if chat.person:
            raise NotImplementedError("Cliq tells a bot of no changes in its chat with one person")
        return chat, chat.posts[message_id]

    def _now(self) -> int:
        return int(self.clock.now().timestamp() * 1000)


def _user(user_id: str) -> dict[str, Any]:
    return {"id": user_id, "first_name": "Ann", "last_name": "Reuß", "language": "en", "timezone": "Europe/Berlin"}


def _time(post: cliq_platform.Post) -> str:
    """The id of a message begins with its time."""
    return post.message_id.partition("_")[0]


def _known_as(chat: cliq_platform.Chat, post: cliq_platform.Post) -> str:
    return f"{post.thread or chat.id}/{post.message_id}"


def _said(chat: cliq_platform.Chat, post: cliq_platform.Post) -> dict[str, Any]:
    """A message as a handler's `message_details` or `data` shows it."""
    said: dict[str, Any] = {"id": post.message_id, "mentions": [], "type": "text", "text": post.text}
    if post.file is not None:
        said = {"id": post.message_id, "type": "file", "content": {"file": post.file, "comment": post.text}}
    answered = chat.posts.get(post.reply_to)
    if answered is not None:
        shown = {"id": answered.message_id, "time": int(_time(answered)), "text": answered.text, "type": "text"}
        said["replied_message"] = {**shown, "sender": {"id": answered.author, "name": "Ann Reuß"}}
    return said
