"""What an operator may set of logs and spans: alike for the core and apps, so that a trace arrives in one place."""

import dataclasses
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from penstock.base import errors, settings

LEVELS: Final = ("debug", "info", "warning", "error")
TRACES_PATH: Final = "/v1/traces"
"""Where a collector takes spans (https://opentelemetry.io/docs/specs/otlp/, OTLP/HTTP request)."""

_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_HEADER: Final = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+)\s*[:=]\s*([\x21-\x7e]+(?: [\x21-\x7e]+)*)")


@dataclasses.dataclass(frozen=True)
class TelemetrySettings:
    """Logs and spans. Apps read it too, from their environment, all but `log_level` (theirs is `sdk.log_level`)."""

    log_level: str = "info"
    """Least important log line written: debug, info, warning or error."""

    otlp_endpoint: str = ""
    """URL of an OpenTelemetry collector that takes OTLP over HTTP, `http://127.0.0.1:4318` say: spans go to
    `/v1/traces` below it. Empty: no span leaves, and none is made."""

    otlp_headers: settings.Secret | None = None
    """Headers for the collector, a key say, as `name=value,name=value`. Apps that `penstock chat` starts do not get it;
    give them `otlp_headers_file`. Only over https, or to this machine."""

    otlp_headers_file: Path | None = None
    """The same from a file, one header a line as `name: value` or `name=value`."""

    otlp_share: float = 1.0
    """Share of traces that are recorded, 0 to 1. It goes by the id of the trace, so that every process with the same
    share picks the same ones, and a trace is whole or not there at all."""

    def __post_init__(self) -> None:
        if self.log_level not in LEVELS:
            raise _bad("log_level", "must be debug, info, warning or error")
        if not 0 <= self.otlp_share <= 1:
            raise _bad("otlp_share", "must be between 0 and 1")
        if self.otlp_headers is not None and self.otlp_headers_file is not None:
            raise _bad("otlp_headers", "and otlp_headers_file say the same: give one of them")
        if self.otlp_endpoint:
            self._check_endpoint()

    def _check_endpoint(self) -> None:
        try:
            parts = urlsplit(self.otlp_endpoint)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise _bad("otlp_endpoint", "must be a URL such as http://127.0.0.1:4318") from None
        if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment:
            raise _bad("otlp_endpoint", "must be a URL such as http://127.0.0.1:4318")
        if not self.otlp_endpoint.isascii() or any(character <= " " for character in self.otlp_endpoint):
            raise _bad("otlp_endpoint", "must be plain ASCII without blanks")
        if parts.username is not None or parts.password is not None:
            raise _bad("otlp_endpoint", "must not hold a password: put it into otlp_headers")
        secret = self.otlp_headers is not None or self.otlp_headers_file is not None
        if secret and parts.scheme == "http" and host not in _HERE:
            raise _bad("otlp_endpoint", "must be https when headers go with it, or be on this machine")

    @property
    def traces_url(self) -> str:
        """Where spans are posted; empty without an endpoint."""
        base = self.otlp_endpoint.rstrip("/")
        return base if not base or base.endswith(TRACES_PATH) else base + TRACES_PATH

    def for_apps(self) -> dict[str, str]:
        """What apps are told of them, as variables of their environment: where spans go, and not with which key."""
        if not self.otlp_endpoint:
            return {}
        told = {"OTLP_ENDPOINT": self.otlp_endpoint, "OTLP_SHARE": str(self.otlp_share)}
        if self.otlp_headers_file is not None:
            told["OTLP_HEADERS_FILE"] = str(self.otlp_headers_file.absolute())
        return {f"{settings.PREFIX}TELEMETRY__{name}": value for name, value in told.items()}

    def headers(self) -> dict[str, str]:
        """The collector's headers. Raises Rejected, quoting no value, for a file or a header that is none."""
        if self.otlp_headers is not None:
            return _parsed("otlp_headers", self.otlp_headers.reveal().split(","))
        if self.otlp_headers_file is None:
            return {}
        try:
            text = self.otlp_headers_file.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _bad("otlp_headers_file", f"cannot be read ({type(error).__name__})") from None
        return _parsed("otlp_headers_file", text.splitlines())


def _parsed(field: str, lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, lines)):
        header = _HEADER.fullmatch(line)
        if header is None:
            raise _bad(field, "holds a header that is not a name and a value in printable ASCII")
        found[header[1]] = header[2]
    return found


def _bad(field: str, rule: str) -> errors.Rejected:
    return errors.Rejected("bad_setting", f"telemetry.{field} {rule}", field=f"telemetry.{field}")
