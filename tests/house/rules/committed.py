"""What is committed: nothing of one machine, no address of a registry, a lock with hashes that fits its inputs."""

import re
from pathlib import Path

from tests.house import tree
from tests.house.rule import Broken, rule

# Put together here, or this file would break its own rule.
_MACHINE = re.compile(r"(?<![\w.~>-])/(?:" + "ro" + "ot|wo" + r"rk)/\w|/home/(?!penstock\b)\w+/")
_REGISTRIES = tuple(
    name + "." + end
    for name, end in (("py" + "pi", "org"), ("python" + "hosted", "org"), ("registry.npm" + "js", "org"))
)
_PINNED = "a==1 \\\n    --hash=sha256:00\n"
_PROJECT = '[project]\nrequires-python = ">=3.11"\ndependencies = []\n[build-system]\nrequires = []\n'


@rule(
    Broken({"docs/a.md": "see /ro" + "ot/x\n"}, "docs/a.md:1"),
    Broken({"src/a.py": "\n\nPATH = '/wo" + "rk/main/x'\n"}, "src/a.py:3"),
    Broken({"requirements.lock": "# /ho" + "me/jane/project\n"}, "requirements.lock:1"),
    kept_by=({"docs/a.md": "https://example.org/wo" + "rk/x and ~/ro" + "ot/\n"},),
)
def no_file_names_a_machine(root: Path) -> list[str]:
    return [f"{place}: a path of one machine" for place in _lines_that(root, lambda line: bool(_MACHINE.search(line)))]


@rule(
    Broken({"requirements.lock": "--index-url https://py" + "pi.org/simple\n"}, "requirements.lock:1"),
    Broken({"Makefile": "x:\n\tcurl https://files.python" + "hosted.org/x\n"}, "Makefile:2"),
)
def no_file_names_a_registry(root: Path) -> list[str]:
    hit = _lines_that(root, lambda line: any(host in line for host in _REGISTRIES))
    return [f"{place}: the address of a registry; the user's settings decide where packages come from" for place in hit]


def _lines_that(root, wrong) -> list[str]:
    places: list[str] = []
    for path in tree.all_files(root):
        text = path.read_bytes().decode("utf-8", errors="replace")
        places += [
            f"{path.relative_to(root).as_posix()}:{number}"
            for number, line in enumerate(text.splitlines(), start=1)
            if wrong(line)
        ]
    return places


@rule(Broken({"uv.lock": ""}, "uv.lock"), Broken({"web/uv.lock": ""}, "web/uv.lock"))
def there_is_one_lock(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root).as_posix()}: records addresses of registries; requirements.lock is the lock"
        for path in tree.all_files(root)
        if path.name in ("uv.lock", "poetry.lock", "Pipfile.lock")
    ]


@rule(
    Broken({"requirements.lock": _PINNED + "b==2\n"}, "b==2 has no hash"),
    Broken({"requirements.lock": "a>=1 \\\n    --hash=sha256:00\n"}, "a>=1 is not pinned"),
    Broken({"requirements.lock": "--extra-index-url x\n" + _PINNED}, "--extra-index-url"),
    kept_by=(
        {"requirements.lock": "# x\n" + _PINNED + "    # via b\nb==2 ; sys_platform == 'x' \\\n    --hash=sha256:11\n"},
    ),
)
def every_pin_has_hashes(root: Path) -> list[str]:
    lines = (root / "requirements.lock").read_text(encoding="utf-8").splitlines()
    found: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if not line or line.startswith((" ", "#")):
            continue
        name = line.rstrip(" \\")
        if line.startswith("-"):
            found.append(f"requirements.lock: {name} is not a pin")
        elif "==" not in name.partition(";")[0]:
            found.append(f"requirements.lock: {name} is not pinned")
        elif not following.strip().startswith("--hash=sha256:"):
            found.append(f"requirements.lock: {name} has no hash")
    return found


@rule(
    Broken(
        {"pyproject.toml": _PROJECT, "requirements.lock": "# inputs sha256:00\n" + _PINNED}, "another pyproject.toml"
    ),
    Broken({"pyproject.toml": _PROJECT}, "is missing"),
)
def the_lock_fits_its_inputs(root: Path) -> list[str]:
    reason = tree.load_script("tools/lock.py").stale_reason(root)
    return [reason] if reason else []
