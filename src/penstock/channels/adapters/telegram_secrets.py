"""What an account on Telegram holds secret: the word that its webhook sends along, and its bot's token.

Source: `secret_token` of https://core.telegram.org/bots/api#setwebhook and
https://core.telegram.org/bots/api#authorizing-your-bot. Telegram signs nothing: every request carries the same word in
a header. So the word proves who calls, but neither what was said nor when: a repetition is told by its ids.
"""

import hmac
import re
from typing import Final

from penstock.base import errors, settings
from penstock.channels import ports

HEADER: Final = "x-telegram-bot-api-secret-token"

# Telegram takes 1-256 characters; a word of fewer than sixteen could be guessed.
_WORD: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")
# It stands in the path of a URL, so nothing may be in it that means something there.
_TOKEN: Final = re.compile(r"[1-9][0-9]{2,19}:[A-Za-z0-9_-]{20,100}")


def check(kind: ports.SecretKind, secret: settings.Secret) -> None:
    """Raise Rejected `bad_secret`, not quoting it, unless Telegram could have it as a secret of that kind."""
    if kind is ports.SecretKind.TOKEN:
        if not is_token(secret):
            hint = "Copy the whole of what @BotFather shows, the number before the colon included."
            raise errors.Rejected("bad_secret", "that is not a bot's token", hint=hint, field="secret")
    elif not _WORD.fullmatch(secret.reveal()):
        rule = "a secret of Telegram's webhook must be 16-256 of A-Z, a-z, 0-9, _ and -"
        raise errors.Rejected("bad_secret", rule, hint="Let Penstock make one.", field="secret")


def is_token(secret: settings.Secret) -> bool:
    """Whether a secret has the form of a bot's token: a number, a colon, and letters."""
    return _TOKEN.fullmatch(secret.reveal()) is not None


def verify(request: ports.WebhookRequest, credentials: ports.Credentials) -> None:
    """Raise Rejected (401) unless the request carries one of the account's live words."""
    offered = request.headers.get(HEADER, "")
    if not offered:
        raise _unauthorised("missing_signature", f"the header {HEADER} is missing")
    candidate = offered.encode("utf-8", "surrogatepass")
    found = False
    for secret in credentials.secrets:
        word = secret.reveal()
        # Every word is compared, so that time does not tell which one nearly fits; a malformed one vouches for nobody.
        found |= hmac.compare_digest(candidate, word.encode("utf-8", "surrogatepass")) and bool(_WORD.fullmatch(word))
    if not found:
        raise _unauthorised("wrong_signature", "this is no live secret of the account")


def _unauthorised(code: str, detail: str) -> errors.Rejected:
    hint = "Call setWebhook with a live signing secret of this account as secret_token."
    return errors.Rejected(code, detail, hint=hint, status=401, field=HEADER)
