"""The login of each tenant's apps: derived from one kept secret, and left where apps of this machine look for it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from penstock.base import ids, settings
from penstock.servers import credentials, endpoints, files, folder

SECRET: Final = "apps"
FOLDER: Final = Path("run") / "apps"
_PURPOSE: Final = b"penstock bus login "


class Logins:
    """Passwords of accounts of the bus, the same whenever they are asked for, each worth nothing for another.

    Raises Rejected as `credentials.kept` does.
    """

    def __init__(self, place: folder.DataFolder) -> None:
        self._secret = credentials.kept(place.secret(SECRET), user="apps").encode()

    def password(self, login: str) -> settings.Secret:
        """The password of a login."""
        made = hmac.digest(self._secret, _PURPOSE + login.encode(), hashlib.sha256)
        return settings.Secret(base64.urlsafe_b64encode(made).rstrip(b"=").decode())


class LoginFiles:
    """A folder of logins as apps read them: `<tenant>.json`, readable by its owner only."""

    def __init__(self, path: Path, nats: Mapping[str, Any]) -> None:
        self._path, self._nats = path, dict(nats)

    @classmethod
    def of(cls, data_folder: Path, nats: Mapping[str, Any]) -> "LoginFiles":
        """Where the apps of this machine look; with the settings by which the installation itself is let in."""
        return cls(data_folder / FOLDER, nats)

    def leave(self, tenant: str, where: endpoints.NatsEndpoint) -> None:
        """Say where the bus is, and as whom to speak to it. Raises Rejected for a name that is no token."""
        name = f"{ids.token(tenant, 'login')}.json"
        self._make_folder()
        login = {"nats_url": where.url, "nats_user": where.user, "nats_password": where.password, "nats": self._nats}
        text, path = json.dumps(login), self._path / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            files.write_private(path, text)

    def keep_only(self, tenants: Collection[str]) -> None:
        """Take away those of any other tenant."""
        self._make_folder()
        for path in self._path.glob("*.json"):
            if path.stem not in tenants:
                path.unlink(missing_ok=True)

    def _make_folder(self) -> None:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.chmod(0o700)
