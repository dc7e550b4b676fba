"""Set-up says in one line why it cannot work and what helps, and does nothing twice."""

import os
import subprocess
import sys

import pytest

from tests.house import tree

environment = tree.load_script("tools/environment.py")
lock = tree.load_script("tools/lock.py")


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def old_python(tmp_path):
    return script(tmp_path / "python3", "echo '[[3, 9, 1], \"/usr\"]'")


def test_the_running_python_is_new_enough():
    assert tuple(environment.find_python(sys.executable)[1]) == sys.version_info[:3]


def test_an_old_python_is_refused_with_its_version(old_python):
    with pytest.raises(environment.Refused, match=r"3\.11 or newer is needed and .* is 3\.9\.1.*make PYTHON="):
        environment.find_python(old_python)


def test_a_python_that_does_not_run_is_refused(tmp_path):
    with pytest.raises(environment.Refused, match=r"no-such-python` does not run"):
        environment.find_python(str(tmp_path / "no-such-python"))


def test_an_old_python_looks_for_a_newer_one_on_the_path(old_python, tmp_path, monkeypatch):
    script(tmp_path / "python3.13", "echo '[[3, 13, 2], \"/opt\"]'")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", old_python)
    assert environment.find_python("") == (str(tmp_path / "python3.13"), [3, 13, 2])


def test_a_python_without_ensurepip_names_the_package(tmp_path):
    without = script(tmp_path / "python", f'case "$*" in *ensurepip*) exit 1;; esac\nexec "{sys.executable}" "$@"')
    with pytest.raises(environment.Refused, match=r"no ensurepip\). `apt install python3\.\d+-venv` helps, or put uv"):
        environment.make_venv(without, str(tmp_path / "venv"), "")


def test_uv_makes_the_venv_where_it_is_on_the_path(tmp_path):
    uv = script(tmp_path / "uv", f'echo "$@" > "{tmp_path}/said"')
    environment.make_venv(sys.executable, str(tmp_path / "venv"), uv)
    assert (tmp_path / "said").read_text(encoding="utf-8").startswith("venv --quiet --no-python-downloads")


@pytest.mark.parametrize(("says", "usable"), [("uv 0.13.9 (abc)", True), ("uv 0.4.1", False), ("", False)])
def test_a_uv_that_is_too_old_is_not_used(tmp_path, monkeypatch, says, usable):
    uv = script(tmp_path / "uv", f"echo '{says}'")
    monkeypatch.setenv("PATH", str(tmp_path) + os.pathsep + os.environ["PATH"])
    assert environment._uv_on_path() == (uv if usable else "")


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("error: Failed to fetch: `https://x`\n caused by: dns error", "registry cannot be reached"),
        ("WARNING: Retrying ... NewConnectionError ...", "registry cannot be reached"),
        ("ERROR: No matching distribution found for uv==1", "registry cannot be reached"),
        ("error: Failed to fetch\n invalid peer certificate: UnknownIssuer", "SSL_CERT_FILE"),
        ("error: No space left on device (os error 28)", "the disk is full"),
        ("x has no wheels with a matching platform tag (e.g., `musllinux`)", "docs/platforms.md"),
        ("note\nERROR: something else\nhint", "`uv pip` failed: ERROR: something else"),
        ("", "`uv pip` failed: it said nothing"),
    ],
)
def test_a_failed_step_is_one_line(output, says):
    line = environment.explain(output, ["/bin/uv", "pip"])
    assert says in line
    assert "\n" not in line


def test_a_failing_step_is_refused(tmp_path):
    broken = script(tmp_path / "uv", "echo 'error: dns error' >&2; exit 2")
    with pytest.raises(environment.Refused, match="registry cannot be reached"):
        environment._run([broken, "pip"])


def test_the_entry_of_one_package_has_all_its_hashes():
    text = (tree.REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    entry = environment.lock_entry(text, "uv")
    assert entry.startswith("uv==")
    assert entry.count("--hash=") >= 2
    assert entry.count("==") == 1
    assert "via" not in entry


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like the repository, and a venv in it that looks finished."""
    for name in ("requirements.lock", "pyproject.toml", "tools/environment.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    script(tmp_path / ".venv" / "bin" / "python", "")
    monkeypatch.setattr(environment, "ROOT", str(tmp_path))
    return tmp_path


def stamp(checkout, wanted):
    (checkout / ".venv" / "penstock-set-up.json").write_text(
        environment.json.dumps(environment._stamp(wanted)), encoding="utf-8"
    )


def test_a_finished_set_up_is_not_repeated(checkout):
    venv = str(checkout / ".venv")
    assert not environment.is_ready(venv, "product")
    stamp(checkout, "product")
    assert environment.is_ready(venv, "product")
    assert not environment.is_ready(venv, "everything")
    stamp(checkout, "everything")
    assert environment.is_ready(venv, "product")
    assert environment.is_ready(venv, "everything")


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_input_asks_for_set_up_again(checkout, name):
    stamp(checkout, "everything")
    (checkout / name).write_text("changed", encoding="utf-8")
    assert not environment.is_ready(str(checkout / ".venv"), "everything")


def test_a_moved_folder_asks_for_set_up_again(checkout, monkeypatch):
    stamp(checkout, "everything")
    moved = checkout.rename(checkout.with_name("moved"))
    monkeypatch.setattr(environment, "ROOT", str(moved))
    assert not environment.is_ready(str(moved / ".venv"), "everything")


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(environment, "ROOT", str(tmp_path / "missing"))
    assert environment.main(["product"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_a_refusal_is_one_line_on_standard_error(old_python):
    finished = subprocess.run(
        [sys.executable, str(tree.REPOSITORY / "tools" / "environment.py"), "product"],
        env={**os.environ, "PYTHON": old_python},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert finished.stdout == ""
    assert finished.stderr.startswith("penstock: Python 3.11 or newer is needed")
    assert finished.stderr.count("\n") == 1


def test_the_digest_of_the_lock_follows_what_is_asked_for(tmp_path):
    pyproject = tmp_path / "pyproject.toml"
    text = '[build-system]\nrequires = []\n[project]\nrequires-python = ">=3.11"\ndependencies = ["a"{}]\n{}'
    pyproject.write_text(text.format("", ""), encoding="utf-8")
    first = lock.inputs_digest(pyproject)
    pyproject.write_text(text.format("", "[tool.ruff]\nline-length = 1\n"), encoding="utf-8")
    assert lock.inputs_digest(pyproject) == first
    pyproject.write_text(text.format(', "b"', ""), encoding="utf-8")
    assert lock.inputs_digest(pyproject) != first
    pyproject.write_text(text.format("", '[dependency-groups]\ntest = ["pytest"]\n'), encoding="utf-8")
    assert lock.inputs_digest(pyproject) != first
