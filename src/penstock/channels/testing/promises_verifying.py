"""Promises of `Channel.verify`: nothing gets in that a live secret of the account did not sign, recently."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from penstock.base import errors, settings
from penstock.channels import ports
from penstock.channels.testing import trial


def takes_both_live_secrets(described: trial.Trial) -> None:
    """A request signed with either of two live secrets is let in, whatever the order of the secrets."""
    for secret in described.secrets:
        request = signed(described, secret=secret)
        described.channel.verify(request, ports.Credentials(described.secrets))
        described.channel.verify(request, ports.Credentials(described.secrets[::-1]))
        described.channel.verify(request, ports.Credentials((secret,)))


def refuses_without_secrets(described: trial.Trial) -> None:
    """An account without a secret takes nothing, not even what is signed with an empty one."""
    _refused(described, signed(described), ())
    _refused(described, dataclasses.replace(signed(described), headers={}), ())


def refuses_wrong_secret(described: trial.Trial) -> None:
    """A request signed with another account's secret is refused, and so is a retired secret."""
    _refused(described, signed(described, secret=described.stranger), described.secrets)
    _refused(described, signed(described, secret=described.secrets[1]), described.secrets[:1])


def refuses_tampered_body(described: trial.Trial) -> None:
    """A body that was changed in any byte, cut or extended after signing is refused."""
    request = signed(described)
    step = max(1, len(request.body) // 50)
    for position in range(0, len(request.body), step):
        changed = bytearray(request.body)
        changed[position] ^= 1
        _refused(described, dataclasses.replace(request, body=bytes(changed)), described.secrets)
    for body in (request.body[:-1], request.body + b" ", b""):
        _refused(described, dataclasses.replace(request, body=body), described.secrets)


def refuses_stale(described: trial.Trial) -> None:
    """A request that was signed ten minutes ago is refused, however good its signature: it may be a replay."""
    late = dataclasses.replace(signed(described), received_at=trial.NOW + timedelta(minutes=10))
    _refused(described, late, described.secrets)


def refuses_future(described: trial.Trial) -> None:
    """A request that was signed ten minutes from now is refused."""
    early = dataclasses.replace(signed(described), received_at=trial.NOW - timedelta(minutes=10))
    _refused(described, early, described.secrets)


def forgives_small_clock_skew(described: trial.Trial) -> None:
    """Clocks that are half a minute apart are forgiven, either way."""
    for seconds in (-30, 30):
        request = dataclasses.replace(signed(described), received_at=trial.NOW + timedelta(seconds=seconds))
        described.channel.verify(request, ports.Credentials(described.secrets))


def refuses_missing_headers(described: trial.Trial) -> None:
    """Without any one of the headers that the signature needs, with all of them empty or strange, it is refused."""
    request = signed(described)
    needed = [name for name in request.headers if name not in ("content-type", "content-length", "user-agent", "host")]
    assert needed, "the platform's requests carry no header that could prove anything"
    for name in needed:
        without = {key: value for key, value in request.headers.items() if key != name}
        _refused(described, dataclasses.replace(request, headers=without), described.secrets)
    for value in ("", " ", "\xff", "é" * 10, "0", "-1", "1e9", "v1,", "A" * 10_000, "9" * 400, "\ud800"):
        strange = {**request.headers, **dict.fromkeys(needed, value)}
        _refused(described, dataclasses.replace(request, headers=strange), described.secrets)


def refuses_in_words_without_secrets(described: trial.Trial) -> None:
    """A refusal has a stable code and a sentence, and quotes neither a secret nor the signature that was expected."""
    request = signed(described)
    right = set(request.headers.values())
    forged = signed(described, secret=described.stranger)
    error = _refused(described, forged, described.secrets)
    assert error.code, "the refusal has no code"
    assert error.detail, "the refusal has no sentence"
    _check_silence(described, error, right)


def signed(described: trial.Trial, *, secret: settings.Secret | None = None) -> ports.WebhookRequest:
    """The first good request, signed at a fixed moment with the newest secret unless told otherwise."""
    good = next(iter(described.requests.good.values()))
    return described.requests.sign(good.body, secret or described.secrets[0], trial.NOW)


def _refused(
    described: trial.Trial, request: ports.WebhookRequest, secrets: tuple[settings.Secret, ...]
) -> errors.Rejected:
    try:
        described.channel.verify(request, ports.Credentials(secrets))
    except errors.Rejected as error:
        assert error.status == 401, f"refused with status {error.status}, not 401"
        return error
    raise AssertionError("it was let in")


def _check_silence(described: trial.Trial, error: errors.PenstockError, signatures: set[str]) -> None:
    text = f"{error!r} {error}"
    for secret in (*described.secrets, described.stranger):
        assert secret.reveal() not in text, "the refusal quotes a secret"
    for value in signatures:
        assert len(value) < 20 or value not in text, "the refusal quotes a header of the good request"


PROMISES: Final[tuple[Callable[[trial.Trial], None], ...]] = (
    takes_both_live_secrets,
    refuses_without_secrets,
    refuses_wrong_secret,
    refuses_tampered_body,
    refuses_stale,
    refuses_future,
    forgives_small_clock_skew,
    refuses_missing_headers,
    refuses_in_words_without_secrets,
)
