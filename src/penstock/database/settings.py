"""What an operator may set of the database."""

import dataclasses

from penstock.base import errors


@dataclasses.dataclass(frozen=True)
class DatabaseSettings:
    """The pool of one process."""

    connections: int = 16
    """Connections to Postgres that one process holds at most; one more per publisher for its lease."""

    def __post_init__(self) -> None:
        if not 1 <= self.connections <= 1000:
            raise errors.Rejected(
                "bad_setting", "database.connections must be between 1 and 1000", field="database.connections"
            )
