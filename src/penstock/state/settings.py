"""What an operator may set of what carries messages between rooms."""

import dataclasses

from penstock.base import errors


@dataclasses.dataclass(frozen=True)
class StateSettings:
    """Quarantine."""

    keep_quarantine_days: int = 365
    """Days for which a quarantined message is kept, whole; then its row is removed. 0: for ever."""

    def __post_init__(self) -> None:
        check_days("state.keep_quarantine_days", self.keep_quarantine_days, least=1)


def check_days(field: str, days: int, *, least: int) -> None:
    """Raise Rejected `bad_setting` unless `days` is 0 (for ever) or between `least` and a hundred years."""
    if days and not least <= days <= 36_500:
        raise errors.Rejected("bad_setting", f"{field} must be 0 (for ever) or {least}-36500", field=field)
