"""Guards the wire contract: what other programs were promised in `proto/` may grow and may not change.

The promise is `proto/contract.binpb`, an image of the proto files as last accepted. `check` compares the files with it
both ways: what was promised is still there (a breaking change fails), and nothing is there that was never accepted (an
unprotected addition fails). `accept --reason "..."` is the only way to a new image: it records the image's digest and
the reason in CHANGELOG.md, and a house test fails on an image whose digest is not its last line there.
"""

import argparse
import hashlib
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_ACCEPTED = re.compile(r"^- contract: sha256:([0-9a-f]{64}) ", re.MULTILINE)
_SECTION = "### Contract\n"


def problems(root: Path) -> list[str]:
    """Everything that keeps `root` from honouring its contract; empty when it does."""
    proto, image = root / "proto", root / "proto" / "contract.binpb"
    found = _buf("lint", str(proto))
    if not image.is_file():
        return [*found, "proto/contract.binpb is missing: run `make contract REASON=...`"]
    broken = _buf("breaking", str(proto), "--against", str(image))
    if broken:
        found += ["this breaks what others were promised (proto/contract.binpb):", *broken]
    else:
        # Seen from the image, an addition is a deletion.
        added = _buf("breaking", str(image), "--against", str(proto))
        if added:
            found += ["not accepted yet; `make contract REASON=...` accepts (read it as added):", *added]
    return [*found, *unrecorded(root)]


def unrecorded(root: Path) -> list[str]:
    """A line when the newest acceptance in CHANGELOG.md is not of the committed image."""
    digest = hashlib.sha256((root / "proto" / "contract.binpb").read_bytes()).hexdigest()
    accepted = _ACCEPTED.findall((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if accepted[:1] == [digest]:
        return []
    return ["proto/contract.binpb was changed without `make contract REASON=...`: CHANGELOG.md does not record it"]


def accept(root: Path, reason: str) -> str:
    """Make the present proto files the contract and record why; returns the new digest.

    Raises SystemExit when the files do not compile.
    """
    image, changelog = root / "proto" / "contract.binpb", root / "CHANGELOG.md"
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "contract.binpb"
        wrong = _buf("build", str(root / "proto"), "--exclude-source-info", "-o", str(fresh))
        if wrong:
            raise SystemExit("\n".join(wrong))
        breaking = image.is_file() and _buf("breaking", str(fresh), "--against", str(image))
        content = fresh.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    note = f"- contract: sha256:{digest} {'BREAKING: ' if breaking else ''}{reason}\n"
    text = changelog.read_text(encoding="utf-8")
    if _SECTION not in text:
        raise SystemExit("CHANGELOG.md has no `### Contract` section to record this in")
    if _ACCEPTED.findall(text)[:1] != [digest]:
        # The newest line comes first, right under the heading.
        head, _, tail = text.partition(_SECTION)
        changelog.write_text(f"{head}{_SECTION}\n{note}{tail.lstrip()}", encoding="utf-8")
    image.write_bytes(content)
    return digest


def _buf(*arguments: str) -> list[str]:
    """Run buf without a network; the lines it complains in, none when all is well."""
    beside = Path(sys.executable).parent / "buf"
    command = [str(beside) if beside.is_file() else "buf", *arguments]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = (finished.stdout + finished.stderr).splitlines()
    return lines or [f"buf {arguments[0]} failed"] if finished.returncode != 0 else []


def main() -> int:
    """`check` the contract (1 and the reasons when it is not honoured) or `accept` a new one."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=["check", "accept"])
    parser.add_argument("--reason", default="", help="one sentence for CHANGELOG.md")
    arguments = parser.parse_args()
    if arguments.action == "accept":
        if not arguments.reason.strip():
            parser.error('say why: make contract REASON="..."')
        print(f"accepted sha256:{accept(ROOT, arguments.reason.strip())}")
        return 0
    found = problems(ROOT)
    for line in found:
        print(line, file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
