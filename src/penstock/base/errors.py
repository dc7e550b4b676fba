"""Errors are named by the reaction they ask for, so that no caller has to know what went wrong to do the right thing.

They are mapped to the outside in three places only: the spine's worker, the edge, and the workflow runner.
"""

from typing import ClassVar


class PenstockError(Exception):
    """An error with a stable `code`, one sentence of `detail`, and a `hint` that names the next step.

    `code` is part of the promised surface (lower case, underscores); `detail` and `hint` are for people and never
    carry a secret or a person's words.
    """

    reaction: ClassVar[str] = "broken"

    def __init__(self, code: str, detail: str, *, hint: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})" if not self.hint else f"{self.detail} ({self.code}) {self.hint}"


class Rejected(PenstockError):
    """The caller is wrong and asking again will not help: HTTP 4xx, a negative receipt, acknowledged.

    `status` is the HTTP status the edge answers with (400-499).
    """

    reaction = "rejected"

    def __init__(self, code: str, detail: str, *, hint: str = "", status: int = 400, field: str = "") -> None:
        super().__init__(code, detail, hint=hint)
        self.status = status
        self.field = field


class WrongMethod(Rejected):
    """Rejected for its HTTP method: status 405, and `allow` names those that are answered here (RFC 9110, 15.5.6)."""

    def __init__(self, detail: str, *, allow: tuple[str, ...]) -> None:
        super().__init__("method_not_allowed", detail, hint=f"Use {' or '.join(allow)}.", status=405)
        self.allow = allow


class Unavailable(PenstockError):
    """The world is slow or away: HTTP 503 (429 when `throttled`), a pause, and another try after `after_s` seconds."""

    reaction = "unavailable"

    def __init__(
        self, code: str, detail: str, *, hint: str = "", after_s: float = 1.0, throttled: bool = False
    ) -> None:
        super().__init__(code, detail, hint=hint)
        self.after_s = after_s
        self.throttled = throttled


class Poisoned(PenstockError):
    """This message can never be handled by this consumer: it goes to quarantine at once."""

    reaction = "poisoned"


class Broken(PenstockError):
    """Our bug: HTTP 500, the task crashes, somebody reads the log."""

    reaction = "broken"
