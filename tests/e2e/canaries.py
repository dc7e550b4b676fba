"""Texts that must not turn up, and where they are looked for: whatever is found where it does not belong is named.

A secret may be in the files that exist to hold it. What people wrote may be in tables and streams.
"""

import base64
import dataclasses
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

from tests.e2e import processes

LEAST_BYTES = 12
"""A canary must be long enough to be nothing else."""

_TABLES_AND_STREAMS = ("postgres", "nats")
_FOR_CREDENTIALS = ("secrets", "run")


@dataclasses.dataclass(frozen=True)
class Canary:
    """One text: what it is, and `private` for people's words, which tables and streams hold."""

    name: str
    text: str
    private: bool = False
    kept_by_us: bool = False
    """A password of our own servers: it stands in files that only their owner may read."""

    def forms(self) -> set[bytes]:
        """The text as it is, and as it would look in a URL, in JSON, in hex and in base64."""
        raw = self.text.encode()
        assert len(raw) >= LEAST_BYTES, self.name
        # Base64 of a longer text that holds this one begins at one of three places.
        encoded = {base64.b64encode(bytes(shift) + raw).rstrip(b"=")[4 if shift else 0 : -2] for shift in range(3)}
        plain = {raw, quote(self.text, safe="").encode(), json.dumps(self.text)[1:-1].encode(), raw.hex().encode()}
        return plain | encoded | {form.replace(b"+", b"-").replace(b"/", b"_") for form in encoded}


def fresh(name: str, *, private: bool = False) -> Canary:
    """A text that was never seen before."""
    return Canary(name, f"canary-{name}-{secrets.token_hex(12)}", private=private)


def of_servers(data: Path) -> Iterator[Canary]:
    """The passwords that an installation has made for itself: every value in the files that hold them."""
    for path in sorted((data / "secrets").rglob("*")):
        if path.is_file():
            for number, word in enumerate(_words(path.read_text("utf-8", "replace"))):
                yield Canary(f"{path.name} {number}", word, kept_by_us=True)


def _words(text: str) -> list[str]:
    """Long words with more than letters in them, as passwords, seeds and keys are."""
    return [word for word in re.findall(r"[A-Za-z0-9_\-+/=$.]{24,}", text) if re.search(r"\d", word)]


class Watch:
    """What is watched for, and what was found."""

    def __init__(self, canaries: list[Canary]) -> None:
        self.canaries = canaries
        self.found: list[str] = []
        self.looked: dict[str, int] = {}

    def look(self, place: str, content: bytes | str, *, private: bool = False, ours: bool = False) -> None:
        """Look for every canary in what was found at a place; `private` words, or `ours`, may be there."""
        data = content.encode() if isinstance(content, str) else content
        kind = place.partition(" ")[0]
        self.looked[kind] = self.looked.get(kind, 0) + len(data)
        for canary in self.canaries:
            if (canary.private and private) or (canary.kept_by_us and ours):
                continue
            if any(form in data for form in canary.forms()):
                self.found.append(f"{canary.name} is in {place}")

    def look_at_processes(self, folder: Path) -> int:
        """Names and arguments of every process of the installation; how many there were."""
        found = processes.using(folder)
        for process in found:
            for part in ("cmdline", "comm"):
                try:
                    self.look(f"processes {process.pid} {part}", Path(f"/proc/{process.pid}/{part}").read_bytes())
                except OSError:
                    continue  # it has ended meanwhile
        return len(found)

    def look_at_files(self, data: Path, *, ours: Mapping[str, str]) -> None:
        """Every file of the data folder. `ours`: files beside the usual ones that hold our own passwords, and why."""
        for path in sorted(path for path in data.rglob("*") if path.is_file() and not path.is_symlink()):
            where = path.relative_to(data)
            holds_words = where.parts[0] in _TABLES_AND_STREAMS and path.suffix not in {".log", ".conf"}
            credentials = where.parts[0] in _FOR_CREDENTIALS or where.as_posix() in ours
            try:
                mode, content = path.stat().st_mode, path.read_bytes()
            except OSError:
                continue  # a server's own, gone meanwhile
            self.look(f"files {where}", content, private=holds_words, ours=credentials)
            if credentials and stat.S_IMODE(mode) & (stat.S_IRWXG | stat.S_IRWXO):
                self.found.append(f"files {where} may be read by others, and holds passwords")


def everything_below(folder: Path, *suffixes: str) -> Iterator[tuple[str, bytes]]:
    """The files that processes wrote their output to."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_file() and entry.name.endswith(suffixes):
            yield entry.name, Path(entry.path).read_bytes()
