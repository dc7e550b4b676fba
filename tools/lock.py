"""One lock for everything, so that two machines that run `make` run the same bytes.

`python tools/lock.py` compiles `pyproject.toml` (what the product needs and every group) into `requirements.lock`:
each package for every platform and Python that we promise, each with its hashes, and no address of a registry. Its
first line is a digest of what was asked for; `--check` compares that line with `pyproject.toml`, without a network.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_MARK = "# inputs sha256:"


def inputs_digest(pyproject: Path) -> str:
    """SHA-256 (hex) of everything in `pyproject.toml` that decides what is installed, whatever its layout."""
    document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    project = document["project"]
    inputs = {
        "build": document["build-system"]["requires"],
        "python": project["requires-python"],
        "dependencies": sorted(project.get("dependencies", [])),
        "extras": project.get("optional-dependencies", {}),
        "groups": document.get("dependency-groups", {}),
    }
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def stale_reason(root: Path) -> str:
    """Why the lock does not belong to `pyproject.toml`, in one sentence; empty when it does."""
    lock = root / "requirements.lock"
    if not lock.is_file():
        return "requirements.lock is missing: run `make lock`"
    first_line = lock.read_text(encoding="utf-8").partition("\n")[0]
    if first_line != _MARK + inputs_digest(root / "pyproject.toml"):
        return "requirements.lock was compiled from another pyproject.toml: run `make lock`"
    return ""


def compile_lock(root: Path, *, upgrade: bool) -> None:
    """Resolve again, keeping the pinned versions that still fit unless `upgrade`; raises CalledProcessError."""
    uv = str(Path(sys.executable).parent / "uv")
    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")).get("dependency-groups", {})
    command = [
        uv if Path(uv).is_file() else "uv",
        "pip",
        "compile",
        "--quiet",
        "--universal",
        "--python-version",
        "3.11",
    ]
    command += ["--only-binary", ":all:", "--no-header", "--generate-hashes", "pyproject.toml"]
    for group in sorted(groups):
        command += ["--group", group]
    if upgrade:
        command.append("--upgrade")
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder) / "requirements.lock"
        if (root / "requirements.lock").is_file():
            shutil.copy(root / "requirements.lock", fresh)
        subprocess.run([*command, "--output-file", str(fresh)], cwd=root, check=True)
        body = fresh.read_text(encoding="utf-8")
    digest = inputs_digest(root / "pyproject.toml")
    (root / "requirements.lock").write_text(f"{_MARK}{digest}\n{body}", encoding="utf-8")


def main() -> int:
    """Compile the lock, or with `--check` say whether it is current; 1 when it is not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only; no network")
    parser.add_argument("--upgrade", action="store_true", help="move every pin to the newest version that fits")
    arguments = parser.parse_args()
    if not arguments.check:
        compile_lock(ROOT, upgrade=arguments.upgrade)
        return 0
    reason = stale_reason(ROOT)
    if reason:
        print(reason, file=sys.stderr)
    return 1 if reason else 0


if __name__ == "__main__":
    sys.exit(main())
