"""The half of the simulated Slack that talks to Penstock: people say things, and Slack tells what Penstock did.

Each event has the shape of its own page below https://docs.slack.dev/reference/events.
"""

from collections.abc import Mapping
from typing import Any, Final

from penstock.channels.testing import simulator, slack_delivery, slack_workspace

Forgery = slack_delivery.Forgery
_HONEST: Final = Forgery()

EMOJI: Final = {
    "👍": "+1",
    "👎": "-1",
    "❤️": "heart",
    "👀": "eyes",
    "🎉": "tada",
    "✅": "white_check_mark",
    "😄": "smile",
    "🙏": "pray",
    "🔥": "fire",
    "🚀": "rocket",
    "💧": "droplet",
}
"""Names that Slack has for what people here put on messages."""


class SlackSender(slack_delivery.SlackDelivery):
    """What people here can do, each told to Penstock as one event (two, when somebody names the app)."""

    async def say(
        self,
        conversation: str,
        text: str,
        *,
        thread: str = "",
        reply_to: str = "",
        user: str = "U0ANN",
        forgery: Forgery = _HONEST,
    ) -> simulator.Posted:
        """Somebody says something: in a thread, or in answer to a message, which is in its thread."""
        answered = self.workspace.find(conversation, reply_to)
        root = thread or (answered.thread_ts if answered else "") or reply_to
        post = self._said(conversation, user, text, root)
        return await self._told(conversation, post, _new(conversation, post), forgery)

    async def mention(self, conversation: str, text: str, *, user: str = "U0ANN") -> tuple[simulator.Posted, ...]:
        """Somebody names the app, which hears of it twice: as a message and as a mention."""
        post = self._said(conversation, user, "", "")
        post.text = f"<@{self.workspace.bot_user}> {slack_workspace.escaped(text)}"
        said = _new(conversation, post)
        named = {**said, "type": "app_mention"}
        del named["channel_type"]
        return tuple([await self._told(conversation, post, event) for event in (said, named)])

    async def attach(self, conversation: str, name: str, content: bytes) -> simulator.Posted:
        """Somebody shares a file, which can be fetched under its URL with the app's token."""
        file_id = self.workspace.next_id("F")
        path = f"/files-pri/{self.workspace.team}-{file_id}/{name}"
        self.files[path] = content
        file = {
            "id": file_id,
            "name": name,
            "mimetype": "application/octet-stream",
            "size": len(content),
            "url_private": self.home + path,
        }
        post = self._said(conversation, "U0ANN", "", "")
        post.files = [file]
        event = {**_new(conversation, post), "subtype": "file_share", "files": [file], "upload": True, "bot_id": None}
        return await self._told(conversation, post, event)

    async def edit(self, conversation: str, message_id: str, text: str) -> simulator.Posted:
        """Somebody changes what a message says."""
        post = self._existing(conversation, message_id)
        before = _inner(post, self.workspace)
        post.text = slack_workspace.escaped(text)
        return await self._changed(conversation, post, before)

    async def unfurl(self, conversation: str, message_id: str) -> simulator.Posted:
        """Slack adds a preview to a message: a change that changes no text."""
        post = self._existing(conversation, message_id)
        return await self._changed(conversation, post, _inner(post, self.workspace), edited=False)

    async def delete(self, conversation: str, message_id: str) -> simulator.Posted:
        """Somebody takes a message back."""
        post = self._existing(conversation, message_id)
        post.deleted = True
        return await self._gone(conversation, post)

    async def react(
        self, conversation: str, message_id: str, reaction: str, *, user: str = "U0BOB", removed: bool = False
    ) -> simulator.Posted:
        """Somebody puts an emoji on a message, or takes it back."""
        post = self._existing(conversation, message_id)
        name = EMOJI.get(reaction, reaction)
        if not name.isascii():
            raise LookupError(f"nobody here knows how Slack calls {reaction}: add it to EMOJI")
        self.workspace.react(post, name, user, removed=removed)
        return await self._reacted(conversation, post, name, user, removed=removed)

    async def pin(self, conversation: str, message_id: str) -> simulator.Posted:
        """Somebody pins a message."""
        post = self._existing(conversation, message_id)
        item = {"type": "message", "channel": conversation, "message": _inner(post, self.workspace)}
        event = {"type": "pin_added", "user": "U0ANN", "channel_id": conversation, "item": item}
        return await self.post_event({**event, "event_ts": self.workspace.next_ts()})

    def _said(self, conversation: str, user: str, text: str, thread_ts: str) -> slack_workspace.Post:
        post = slack_workspace.Post(self.workspace.next_ts(), user, slack_workspace.escaped(text), thread_ts)
        self.workspace.add(conversation, post)
        return post

    def _existing(self, conversation: str, ts: str) -> slack_workspace.Post:
        post = self.workspace.find(conversation, ts)
        if post is None:
            raise LookupError(f"there is no message {ts} in {conversation}")
        return post

    async def _changed(
        self, conversation: str, post: slack_workspace.Post, before: dict[str, Any], *, edited: bool = True
    ) -> simulator.Posted:
        ts = self.workspace.next_ts()
        after = _inner(post, self.workspace)
        after |= {"edited": {"user": post.user, "ts": ts}} if edited else {"attachments": [{"title": "a preview"}]}
        return await self._hidden(conversation, "message_changed", ts, {"message": after, "previous_message": before})

    async def _gone(self, conversation: str, post: slack_workspace.Post) -> simulator.Posted:
        fields = {"deleted_ts": post.ts, "previous_message": _inner(post, self.workspace)}
        return await self._hidden(conversation, "message_deleted", self.workspace.next_ts(), fields)

    async def _hidden(self, conversation: str, subtype: str, ts: str, fields: Mapping[str, Any]) -> simulator.Posted:
        event = {"type": "message", "subtype": subtype, "hidden": True, "channel": conversation, "ts": ts}
        return await self.post_event({**event, "event_ts": ts, "channel_type": "channel", **fields})

    async def _reacted(
        self, conversation: str, post: slack_workspace.Post, name: str, user: str, *, removed: bool
    ) -> simulator.Posted:
        item = {"type": "message", "channel": conversation, "ts": post.ts}
        kind = "reaction_removed" if removed else "reaction_added"
        event = {"type": kind, "user": user, "reaction": name, "item_user": post.user, "item": item}
        return await self.post_event({**event, "event_ts": self.workspace.next_ts()})

    async def echo(self, call: slack_workspace.Call) -> None:
        """Tell the app what it has just done itself, as Slack does."""
        ts = str(call.answer.get("ts") or call.arguments.get("timestamp"))
        post = next(one for one in self.workspace.posts(call.channel) if one.ts == ts)
        if call.method == "chat.postMessage":
            own = {"bot_id": self.workspace.bot_id, "bot_profile": {"id": self.workspace.bot_id, "name": "Penstock"}}
            await self.post_event({**_new(call.channel, post), **own})
        elif call.method == "chat.update":
            await self._changed(call.channel, post, {**_inner(post, self.workspace), "text": "before"})
        elif call.method == "chat.delete":
            await self._gone(call.channel, post)
        else:
            name, removed = str(call.arguments["name"]), call.method == "reactions.remove"
            await self._reacted(call.channel, post, name, self.workspace.bot_user, removed=removed)

    async def _told(
        self, conversation: str, post: slack_workspace.Post, event: Mapping[str, Any], forgery: Forgery = _HONEST
    ) -> simulator.Posted:
        """What is said is known by its place: a mention and a message are two events about the same thing."""
        known_as = f"{conversation}/{post.ts}"
        return await self.post_event(event, known_as=known_as, message_id=post.ts, forgery=forgery)


def _new(conversation: str, post: slack_workspace.Post) -> dict[str, Any]:
    event = {"type": "message", "channel": conversation, "user": post.user, "text": post.text, "ts": post.ts}
    thread = {"thread_ts": post.thread_ts} if post.thread_ts else {}
    return {**event, **thread, "event_ts": post.ts, "channel_type": "im" if conversation[:1] == "D" else "channel"}


def _inner(post: slack_workspace.Post, workspace: slack_workspace.SlackWorkspace) -> dict[str, Any]:
    """A message inside an event about it."""
    message = {"type": "message", "user": post.user, "text": post.text, "ts": post.ts, "team": workspace.team}
    if post.bot:
        message["bot_id"] = workspace.bot_id
    if post.thread_ts:
        message["thread_ts"] = post.thread_ts
    return message
