"""Where a running installation listens, kept in `<data>/run/endpoints.json` (0600) for the CLI and for apps."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from penstock.base import errors

FILE: Final = Path("run") / "endpoints.json"


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoints:
    """URLs and credentials of one installation. `postgres_url` is the login that may not change the schema."""

    http_url: str
    nats_url: str
    nats_user: str
    nats_password: str
    postgres_url: str
    pid: int
    nats: Mapping[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    """The table `[nats]` of the settings, for apps: how to be let in by servers that the operator named."""

    def __repr__(self) -> str:
        return f"Endpoints(http_url={self.http_url!r})"


def write(data_folder: Path, endpoints: Endpoints) -> None:
    """Replace the file in one step; only its owner may read it."""
    path = data_folder / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        json.dump(dataclasses.asdict(endpoints), file)
    draft.replace(path)


def read(data_folder: Path) -> Endpoints:
    """What a running `penstock up` wrote. Raises Unavailable `not_running`."""
    try:
        return Endpoints(**json.loads((data_folder / FILE).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        raise errors.Unavailable(
            "not_running", "no installation is running in this data folder", hint="Start one with 'penstock up'."
        ) from None
    except PermissionError:
        raise errors.Rejected(
            "not_yours", f"{data_folder / FILE} belongs to another user", hint="Use the user that ran 'penstock up'."
        ) from None
    except (OSError, ValueError, TypeError):
        raise errors.Rejected("bad_endpoints", f"{data_folder / FILE} is not what this build writes") from None


def remove(data_folder: Path) -> None:
    """Forget them when the installation stops."""
    (data_folder / FILE).unlink(missing_ok=True)
