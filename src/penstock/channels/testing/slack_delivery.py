"""How the simulated Slack delivers: signed, in an envelope, again when it was not answered; or forged on purpose.

Envelopes are those of https://docs.slack.dev/apis/events-api, signatures those of
https://docs.slack.dev/authentication/verifying-requests-from-slack; no code is the adapter's.
"""

import dataclasses
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from penstock.base import clock as clocks
from penstock.channels.testing import posting, simulator, slack_workspace

WRONG_SECRET: Final = "0badc0ffee0badc0ffee0badc0ffee00"
"""A well-formed signing secret that no account has."""


@dataclasses.dataclass(frozen=True, slots=True)
class Forgery:
    """What is wrong with a request on purpose; nothing by default.

    `age_s`: how old its timestamp is (negative: from the future). `second_secret`: signed with the older live secret.
    `without`: headers left out. `body`: sent instead of what was signed.
    """

    wrong_secret: bool = False
    second_secret: bool = False
    age_s: float = 0.0
    without: frozenset[str] = frozenset()
    body: bytes | None = None
    content_type: str = "application/json"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """The header `x-slack-signature`."""
    return "v0=" + hmac.new(secret.encode(), b"v0:%b:%b" % (timestamp.encode(), body), hashlib.sha256).hexdigest()


class SlackDelivery(posting.Posting):
    """Posts signed events to the request URL. `patience_s`: for how long what was not answered 2xx is posted again.

    `home`: where `files` (by path) are offered, known once started.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        workspace: slack_workspace.SlackWorkspace,
        clock: clocks.Clock,
        patience_s: float,
    ) -> None:
        super().__init__(patience_s, insists=False)
        self.workspace, self.clock = workspace, clock
        self.signing = list(secrets)
        self.home = ""
        self.files: dict[str, bytes] = {}

    async def verify_url(self, challenge: str, *, forgery: Forgery = Forgery()) -> tuple[int, bytes]:
        """Ask who answers at the request URL, as happens when it is entered: status and body of the answer."""
        body = json.dumps({"token": "deprecated", "challenge": challenge, "type": "url_verification"}).encode()
        return await self.deliver(body, forgery=forgery)

    async def repeat(self, posted: simulator.Posted) -> simulator.Posted:
        """Deliver the same event again, as happens when an answer got lost."""
        status, _ = await self.deliver(posted.body, retry=1)
        return dataclasses.replace(posted, status=status)

    async def deliver(self, body: bytes, *, forgery: Forgery = Forgery(), retry: int = 0) -> tuple[int, bytes]:
        """Sign a body and post it, again while there is patience: status (0: no answer) and answer of the last try."""
        sent = body if forgery.body is None else forgery.body
        answer = await self._post(lambda attempts: self.sign(body, forgery, retry=retry + attempts), sent)
        return answer.status, answer.body

    def sign(self, body: bytes, forgery: Forgery = Forgery(), *, retry: int = 0) -> dict[str, str]:
        """The headers of a request with this body, forged as told."""
        secret = self.signing[1 if forgery.second_secret else 0]
        timestamp = str(int(self.clock.now().timestamp() - forgery.age_s))
        headers = {
            "content-type": forgery.content_type,
            "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": signature(WRONG_SECRET if forgery.wrong_secret else secret, timestamp, body),
        }
        if retry:
            headers |= {"x-slack-retry-num": str(retry), "x-slack-retry-reason": "http_timeout"}
        return {name: value for name, value in headers.items() if name not in forgery.without}

    async def post_event(
        self, event: Mapping[str, Any], *, known_as: str = "", message_id: str = "", forgery: Forgery = Forgery()
    ) -> simulator.Posted:
        """Post any event in an envelope of its own. `known_as`: what Penstock shall know it by, if not the envelope."""
        workspace = self.workspace
        event_id = workspace.next_id("Ev")
        installed = {"enterprise_id": None, "team_id": workspace.team, "user_id": workspace.bot_user, "is_bot": True}
        envelope = {
            "token": "deprecated",
            "team_id": workspace.team,
            "api_app_id": workspace.app_id,
            "event": event,
            "type": "event_callback",
            "event_id": event_id,
            "event_time": int(self.clock.now().timestamp()),
            "authorizations": [{**installed, "is_enterprise_install": False}],
            "is_ext_shared_channel": False,
        }
        body = json.dumps(envelope).replace("/", "\\/").encode()
        status, _ = await self.deliver(body, forgery=forgery)
        return simulator.Posted(known_as or event_id, message_id, status, body)
