"""What an operator may set of the edge."""

import dataclasses

from penstock.base import errors


@dataclasses.dataclass(frozen=True)
class EdgeSettings:
    """The HTTP listener."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback by default: put a reverse proxy with TLS in front of anything else."""

    port: int = 0
    """TCP port. 0: 8080 when it is free, else any free one."""

    in_flight: int = 1000
    """Requests handled at once; beyond that the answer is 503 with Retry-After."""

    head_deadline_s: float = 10.0
    """Seconds in which a request's line and headers must have arrived, counted from the connection's start."""

    drain_s: float = 20.0
    """Seconds that requests and handlers may take to finish after SIGTERM."""

    def __post_init__(self) -> None:
        if not self.host:
            raise errors.Rejected("bad_setting", "edge.host must not be empty", field="edge.host")
        for field, least, most in (
            ("port", 0, 65_535),
            ("in_flight", 1, 1_000_000),
            ("head_deadline_s", 0.1, 300),
            ("drain_s", 0, 600),
        ):
            if not least <= getattr(self, field) <= most:
                raise errors.Rejected(
                    "bad_setting", f"edge.{field} must be between {least} and {most}", field=f"edge.{field}"
                )
