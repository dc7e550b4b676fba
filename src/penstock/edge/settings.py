"""What an operator may set of the edge."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EdgeSettings:
    """The HTTP listener."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback by default: put a reverse proxy with TLS in front of anything else."""

    port: int = 0
    """TCP port. 0: 8080 when it is free, else any free one."""

    in_flight: int = 1000
    """Requests handled at once; beyond that the answer is 503 with Retry-After."""

    drain_s: float = 20.0
    """Seconds that requests and handlers may take to finish after SIGTERM."""
