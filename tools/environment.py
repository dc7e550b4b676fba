"""Makes `.venv` ready for `make`, from nothing but a Python and its package registry.

    python3 tools/environment.py product         what `make demo` runs on
    python3 tools/environment.py everything   that, and what tests, checks and benchmarks need

Standard library only. It must start on any Python 3.6 (no newer syntax), because its most useful answer is the one line
that says why set-up cannot work here and which command helps. A finished set-up leaves a stamp, so a second run costs
one interpreter start.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OLDEST_PYTHON = (3, 11)
OLDEST_UV = (0, 8)
_PROBE = "import json, sys; print(json.dumps([list(sys.version_info[:3]), sys.base_prefix]))"


_CERTIFICATE = (
    "the package registry's certificate is not trusted here. `export SSL_CERT_FILE=/path/to/your/ca.pem` helps, "
    "then run make again"
)
_NETWORK = (
    "the Python package registry cannot be reached. Check the network (`export HTTPS_PROXY=...` behind a proxy, "
    "`export UV_DEFAULT_INDEX=... PIP_INDEX_URL=...` for a mirror), then run make again"
)
_PLATFORM = (
    "a pinned package has no wheel for this Python on this machine. See docs/platforms.md, or name another Python: "
    "`make PYTHON=python3.12 ...`"
)
# What a failed step says, and what that means; the first match counts.
_CAUSES = (
    (r"CERTIFICATE_VERIFY_FAILED|invalid peer certificate|UnknownIssuer", _CERTIFICATE),
    (r"error sending request|dns error|Failed to fetch|name resolution|Network is unreachable|[Tt]imed out", _NETWORK),
    (r"Connection(Error| refused| reset)|NewConnectionError|No matching distribution found for uv", _NETWORK),
    (r"No space left on device", "the disk is full. Free 1 GB (`df -h .`), then run make again"),
    (r"no wheels? with a matching|matching platform tag|no (compatible|usable) wheels?|ABI tag", _PLATFORM),
)


class Refused(Exception):
    """Set-up cannot work here; the text is one line that names the command that helps."""


def main(arguments):
    """Set up what `arguments[0]` names (`product` or `everything`); 0 when `.venv` is ready, 1 after one line."""
    wanted = arguments[0] if arguments else "everything"
    try:
        with _one_at_a_time():
            set_up(wanted, os.environ.get("PYTHON", ""))
    except Refused as refusal:
        print("penstock: {}".format(refusal), file=sys.stderr)
        return 1
    except OSError as error:
        print("penstock: cannot write {}: {}".format(error.filename or ROOT, error.strerror), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("penstock: set-up interrupted; the next run continues", file=sys.stderr)
        return 130
    return 0


def set_up(wanted, python):
    """Bring `.venv` to the lock. `python` is the interpreter that the user insists on, or empty."""
    venv = os.path.join(ROOT, ".venv")
    interpreter = os.path.join(venv, "bin", "python")
    if is_ready(venv, wanted) and (not python or _probe(python) == _probe(interpreter)):
        return
    base, version = find_python(python)
    started = time.time()
    print("Setting up .venv with Python {} ...".format(".".join(map(str, version))), flush=True)
    uv = _uv_on_path()
    if _must_be_made_again(venv, base if python else ""):
        shutil.rmtree(venv, ignore_errors=True)
        make_venv(base, venv, uv)
    _forget(venv)
    uv = uv or uv_inside(venv)
    install(uv, interpreter, wanted)
    with open(_stamp_path(venv), "w", encoding="utf-8") as file:
        json.dump(_stamp(wanted), file)
    print("Ready in {:.1f} s.".format(time.time() - started), flush=True)


def is_ready(venv, wanted):
    """True when an earlier run finished, for this lock, in this folder, with at least what is wanted."""
    try:
        with open(_stamp_path(venv), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return False
    enough = found in (_stamp(wanted), _stamp("everything"))
    return enough and os.access(os.path.join(venv, "bin", "python"), os.X_OK)


def _stamp(wanted):
    digest = hashlib.sha256()
    for name in ("requirements.lock", "pyproject.toml", os.path.join("tools", "environment.py")):
        with open(os.path.join(ROOT, name), "rb") as file:
            digest.update(file.read())
    return {"wanted": wanted, "root": ROOT, "digest": digest.hexdigest()}


def _stamp_path(venv):
    return os.path.join(venv, "penstock-set-up.json")


def _forget(venv):
    with contextlib.suppress(OSError):
        os.remove(_stamp_path(venv))


@contextlib.contextmanager
def _one_at_a_time():
    """Two `make` in one checkout: the second waits and then finds everything ready."""
    with open(os.path.join(ROOT, ".venv.lock"), "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def find_python(insisted):
    """The interpreter to build on and its version; raises Refused when none is new enough."""
    names = [insisted] if insisted else [sys.executable, *("python3.{}".format(n) for n in (14, 13, 12, 11)), "python3"]
    too_old = ""
    for name in names:
        found = _probe(name)
        if found and tuple(found[0]) >= OLDEST_PYTHON:
            return shutil.which(name) or name, found[0]
        if found and not too_old:
            too_old = "{} is {}".format(name, ".".join(map(str, found[0])))
    raise Refused(
        "Python 3.11 or newer is needed and {}. Install one (`apt install python3 python3-venv`, "
        "`brew install python` or `uv python install 3.13`) and name it: `make PYTHON=/path/to/python3.13 ...`".format(
            too_old or "`{}` does not run".format(insisted or "python3")
        )
    )


def _probe(python):
    """[version, base prefix] of an interpreter, or None when it does not run."""
    try:
        output = subprocess.check_output([python, "-I", "-c", _PROBE], stderr=subprocess.DEVNULL)
        return json.loads(output.decode("utf-8"))
    except (OSError, subprocess.CalledProcessError, ValueError):
        return None


def _must_be_made_again(venv, insisted):
    """True when there is none, or it came from elsewhere: a moved folder, a removed or an unwanted Python."""
    found = _probe(os.path.join(venv, "bin", "python"))
    if not found or tuple(found[0]) < OLDEST_PYTHON or (insisted and found != _probe(insisted)):
        return True
    try:
        with open(os.path.join(venv, "bin", "activate"), encoding="utf-8") as file:
            return venv not in file.read()
    except OSError:
        return True


def make_venv(python, venv, uv):
    """A fresh virtual environment; raises Refused when this Python cannot make one and no uv can."""
    if uv:
        _run([uv, "venv", "--quiet", "--no-python-downloads", "--python", python, venv])
        return
    if subprocess.call([python, "-I", "-c", "import ensurepip, venv"], stderr=subprocess.DEVNULL) != 0:
        name = "python{}.{}".format(*(_probe(python) or [OLDEST_PYTHON])[0][:2])
        raise Refused(
            "{} cannot make a virtual environment (it has no ensurepip). `apt install {}-venv` helps, "
            "or put uv on the path, then run make again".format(python, name)
        )
    _run([python, "-I", "-m", "venv", venv])


def _uv_on_path():
    """The path of a uv that is new enough, or empty."""
    uv = shutil.which("uv")
    if not uv:
        return ""
    try:
        answer = subprocess.check_output([uv, "--version"], stderr=subprocess.DEVNULL).decode("utf-8", "replace")
    except (OSError, subprocess.CalledProcessError):
        return ""
    version = re.search(r"(\d+)\.(\d+)", answer)
    return uv if version and tuple(map(int, version.groups())) >= OLDEST_UV else ""


def uv_inside(venv):
    """The path of the environment's own uv, which pip installs from the lock with its hashes."""
    uv = os.path.join(venv, "bin", "uv")
    if os.access(uv, os.X_OK):
        return uv
    with open(os.path.join(ROOT, "requirements.lock"), encoding="utf-8") as file:
        entry = lock_entry(file.read(), "uv")
    with tempfile.TemporaryDirectory() as folder:
        only_uv = os.path.join(folder, "uv.txt")
        with open(only_uv, "w", encoding="utf-8") as file:
            file.write(entry)
        pip = [os.path.join(venv, "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "--retries", "1", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", only_uv])
    return uv


def lock_entry(lock, name):
    """The lines of one package in the lock: its pin and its hashes."""
    match = re.search(r"^{}==.*(?:\n    --hash=.*)*".format(re.escape(name)), lock, re.MULTILINE)
    if not match:
        raise Refused("requirements.lock does not pin {}: run `git checkout requirements.lock`".format(name))
    return match.group(0) + "\n"


def install(uv, interpreter, wanted):
    """Install from the lock, then the project itself, editable and without resolving anything."""
    pinned = ["--quiet", "--python", interpreter, "--require-hashes", "--only-binary", ":all:"]
    if wanted == "everything":
        _run([uv, "pip", "sync", *pinned, "requirements.lock"])
    else:
        chosen = ["--constraint", "requirements.lock", "--requirement", "pyproject.toml", "--group", "build"]
        _run([uv, "pip", "install", *pinned, *chosen])
    itself = ["--no-deps", "--no-build-isolation", "--editable", "."]
    _run([uv, "pip", "install", "--quiet", "--python", interpreter, *itself])


def _run(command):
    """Run one step quietly; raises Refused with one line about what went wrong."""
    finished = subprocess.run(
        command,
        cwd=ROOT,
        env=_surroundings(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if finished.returncode != 0:
        raise Refused(explain(finished.stdout.decode("utf-8", "replace"), command))


def _surroundings():
    """The user's environment without what would redirect the installation."""
    unwanted = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONHOME", "PYTHONPATH", "UV_PYTHON", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in unwanted}
    # pip trusts the machine's certificates; so must uv, or it fails behind a company's proxy.
    environment.setdefault("UV_SYSTEM_CERTS", "1")
    home = os.path.expanduser("~")
    if "UV_CACHE_DIR" not in environment and "XDG_CACHE_HOME" not in environment and not os.access(home, os.W_OK):
        environment["UV_NO_CACHE"] = "1"
    return environment


def explain(output, command):
    """One line for a failed step: what it means where that is known, else the tool's own last word."""
    for pattern, meaning in _CAUSES:
        if re.search(pattern, output):
            return meaning
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if line.lower().startswith("error")][:1] or lines
    step = " ".join(os.path.basename(part) for part in command[:3])
    return "`{}` failed: {}".format(step, lines[-1] if lines else "it said nothing")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
