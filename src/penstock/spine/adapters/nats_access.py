"""From what an operator wrote in settings and files to an address that a client can connect to.

What is wrong is said in one line that names the setting and never what is in the file.
"""

import os
import ssl
import stat
from pathlib import Path

from penstock.base import errors, telemetry
from penstock.spine import settings
from penstock.spine.plane import address as addresses

_log = telemetry.logger("spine.nats")


def address(
    urls: str, chosen: settings.NatsSettings, *, user: str = "", password: str = "", name: str = "penstock"
) -> addresses.Address:
    """Servers from URLs, and all else from settings; credentials given apart come before those of a URL.

    Raises Rejected `nats_url`, `bad_setting` for a file that is not there or not what it should be.
    """
    access = addresses.Access(
        token=chosen.token.reveal() if chosen.token else "",
        signer=_signer(chosen.nkey_seed_file),
        tls=_context(chosen),
        tls_first=chosen.tls_first,
        inbox_prefix=chosen.inbox_prefix,
        api_prefix=chosen.api_prefix,
    )
    return addresses.address(urls, user=user, password=password, name=name, access=access)


def _signer(file: Path | None) -> addresses.Signer | None:
    if file is None:
        return None
    from penstock.spine.adapters import nats_nkey  # loads a large library, for those who have an nkey

    text = _text(file, "nkey_seed_file", secret=True)
    try:
        return nats_nkey.user_key(text)
    except errors.Rejected as error:
        raise _bad("nkey_seed_file", f"{file}: {error.detail}") from None


def _context(chosen: settings.NatsSettings) -> ssl.SSLContext | None:
    """How TLS is spoken, if a setting asks for it: trusting the named authority only, else those of the system."""
    if chosen.ca_file is None and chosen.certificate_file is None:
        return None
    context = ssl.create_default_context(cadata=_authorities(chosen.ca_file))
    if chosen.certificate_file is not None and chosen.key_file is not None:
        _text(chosen.certificate_file, "certificate_file")
        _text(chosen.key_file, "key_file", secret=True)
        try:
            # An encrypted key would make OpenSSL ask on the terminal.
            context.load_cert_chain(chosen.certificate_file, chosen.key_file, password=lambda: b"")
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "not what OpenSSL reads"
            raise _bad("certificate_file", f"{chosen.certificate_file} and {chosen.key_file}: {reason}") from None
    return context


def _authorities(file: Path | None) -> str | None:
    if file is None:
        return None
    text = _text(file, "ca_file")
    try:
        ssl.create_default_context(cadata=text)
    except (ssl.SSLError, ValueError):
        raise _bad("ca_file", f"{file} holds no certificate in PEM") from None
    return text


def _text(file: Path, setting: str, *, secret: bool = False) -> str:
    try:
        with file.open(encoding="ascii") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read(1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        raise _bad(setting, f"there is no file {file}") from None
    except OSError as error:
        raise _bad(setting, f"cannot read {file}: {error.strerror}") from None
    except ValueError:
        raise _bad(setting, f"{file} is not text") from None
    if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
        _log.warning("secret file open to others", setting=f"nats.{setting}", path=str(file), hint="chmod 600 it")
    return text


def _bad(setting: str, detail: str) -> errors.Rejected:
    return errors.Rejected("bad_setting", f"nats.{setting}: {detail}", field=f"nats.{setting}")
