"""Writes `src/penstock/messages/v1` from `proto/penstock/v1`, so that nobody edits generated code.

`python proto/generate.py` writes; `--check` compares, names the files that differ and exits 1. The proto package is
`penstock.v1`; its Python lives in `penstock.messages.v1`, so imports are rewritten on the way. Stubs come from
mypy-protobuf, because those of protoc leave types unknown to pyright. A file with services gets gRPC modules as well.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_DOCSTRING = '"""Generated from `proto/penstock/v1`; `make proto` writes these modules and CI compares them."""\n'
_SERVICE = re.compile(r"^service\s", re.MULTILINE)
# `from penstock.v1 import x_pb2` in code; `'penstock.v1.x_pb2'` where a class learns its module (pickle looks there).
_REWRITES = (
    (re.compile(r"^(from|import) penstock\.v1\b", re.MULTILINE), r"\1 penstock.messages.v1"),
    (re.compile(r"'penstock\.v1\.(\w+_pb2)'"), r"'penstock.messages.v1.\1'"),
)


def generate(proto: Path) -> dict[str, str]:
    """The text of every generated module by file name; raises SystemExit with protoc's words when a file is wrong."""
    sources = sorted((proto / "penstock" / "v1").glob("*.proto"))
    with_services = [source for source in sources if _SERVICE.search(source.read_text(encoding="utf-8"))]
    with tempfile.TemporaryDirectory() as folder:
        _protoc(proto, sources, [f"--python_out={folder}", f"--mypy_out=quiet:{folder}"])
        if with_services:
            _protoc(proto, with_services, [f"--grpc_python_out={folder}", f"--mypy_grpc_out=quiet:{folder}"])
        made = Path(folder, "penstock", "v1")
        modules = {path.name: _moved(path.read_text(encoding="utf-8")) for path in sorted(made.iterdir())}
    return {"__init__.py": _DOCSTRING, **modules}


def _protoc(proto: Path, sources: list[Path], outputs: list[str]) -> None:
    names = [str(source.relative_to(proto)) for source in sources]
    # protoc looks for the mypy plug-in on the path; it is installed beside this interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, *names]
    finished = subprocess.run(command, cwd=proto, env={**os.environ, "PATH": path}, check=False)
    if finished.returncode != 0:
        raise SystemExit(finished.returncode)


def _moved(text: str) -> str:
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text


def differences(modules: dict[str, str], target: Path) -> list[str]:
    """One line for each file of `target` that is missing, differs, or is no longer generated."""
    present = {path.name for path in target.iterdir() if path.is_file()} if target.is_dir() else set[str]()
    lines = [f"{target / name} is no longer generated" for name in sorted(present - modules.keys())]
    for name, text in sorted(modules.items()):
        if name not in present:
            lines.append(f"{target / name} is missing")
        elif (target / name).read_text(encoding="utf-8") != text:
            lines.append(f"{target / name} differs from its proto file")
    return lines


def write(modules: dict[str, str], target: Path) -> None:
    """Make `target` hold exactly these modules; files that did not change keep their time."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if path.is_file() and path.name not in modules:
            path.unlink()
    for name, text in modules.items():
        path = target / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def main() -> int:
    """Write the generated modules, or with `--check` compare them; 1 when they differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare only")
    arguments = parser.parse_args()
    modules = generate(ROOT / "proto")
    target = ROOT / "src" / "penstock" / "messages" / "v1"
    if not arguments.check:
        write(modules, target)
        return 0
    lines = differences(modules, target)
    for line in lines:
        print(line.replace(f"{ROOT}{os.sep}", ""), file=sys.stderr)
    if lines:
        print("run `make proto`", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
