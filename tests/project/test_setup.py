"""`make setup`: which Python it takes, and its sentences where it cannot go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("sh", "dirname", "mkdir", "rmdir", "df", "awk", "mktemp", "rm", "grep", "tail")
WITHOUT_VENV = 'case "$*" in *ensurepip*) exit 1 ;; esac'
OLD = 'case "$*" in *version_info*) exit 1 ;; *) echo 3.9.2 ;; esac; exit 0'


class Machine:
    """A project in a folder and a PATH with nothing on it but what a test puts there."""

    def __init__(self, folder: Path):
        self.project, self.path = folder / "project", folder / "bin"
        self.project.mkdir()
        self.path.mkdir()
        shutil.copytree(ROOT / "envs", self.project / "envs")
        for lock in ("requirements.lock", "requirements-torch.lock"):
            shutil.copy(ROOT / lock, self.project)
        for tool in TOOLS:
            (self.path / tool).symlink_to(shutil.which(tool))

    def program(self, name: str, *lines: str) -> Path:
        """Put a shell script on the PATH; without further lines it is this Python."""
        path = self.path / name
        path.unlink(missing_ok=True)
        path.write_text("\n".join(["#!/bin/sh", *lines, f'exec {sys.executable} "$@"\n']))
        path.chmod(0o755)
        return path

    def setup(self, *arguments: str, folder: str = ".venv", **variables: str):
        """Run the script of `make setup`; return its status and what it said."""
        done = subprocess.run(
            ["sh", "envs/setup.sh", folder, *arguments],
            cwd=self.project,
            env={"PATH": str(self.path), "HOME": os.environ["HOME"]} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return done.returncode, done.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_no_python(machine):
    status, said = machine.setup()
    assert status != 0 and "no Python 3.11 or newer on the PATH (python3 is missing)" in said
    machine.program("python3", OLD)
    status, said = machine.setup()
    assert status != 0 and "on the PATH (python3 is 3.9.2)" in said
    assert "make setup PYTHON=/path/to/python3.13" in said
    assert not (machine.project / ".venv").exists()


def test_a_named_python_that_does_not_do(machine):
    old = machine.program("old", OLD)
    assert machine.setup(str(old)) == (
        1,
        f"make setup: PYTHON={old} is 3.9.2; 3.11 or newer is needed\n",
    )
    assert "is no Python that runs; 3.11" in machine.setup("/nowhere/python3")[1]


def test_the_newest_python_that_runs_is_taken_and_named(machine):
    """And not a pyenv's shim of a version that is not active, which prints an error."""
    for name in ("python3", "python3.11"):
        machine.program(name)
    best = machine.program("python3.12", WITHOUT_VENV)
    machine.program("python3.13", "echo 'pyenv: python3.13: command not found' >&2", "exit 127")
    status, said = machine.setup()
    assert f"Setting up .venv with Python {sys.version.split()[0]} ({best})" in said
    assert status != 0 and "python3.12 has no venv" in said and "python3-venv" in said


def test_no_space(machine):
    machine.program("python3.13")
    machine.program("df", "echo header; echo /dev/vda 9 8 1200000 9% /; exit 0")
    status, said = machine.setup()
    assert status != 0 and "1200 MB are free where .venv would be, at least 3000" in said
    assert not (machine.project / ".venv").exists()


def test_a_folder_whose_python_is_gone(machine):
    (machine.project / ".venv" / "bin").mkdir(parents=True)
    (machine.project / ".venv" / "bin" / "python").write_text("#!/bin/sh\nexit 127\n")
    (machine.project / ".venv" / "bin" / "python").chmod(0o755)
    status, said = machine.setup()
    assert status != 0 and ".venv has a Python that does not run or is older than 3.11" in said


@pytest.mark.parametrize(
    ("pip", "reason"),
    [
        ("Retrying after connection broken by 'NewConnectionError(...)'", "is there a network"),
        ("OSError: [Errno 28] No space left on device", "no space is left"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "not the one that requirements.lock"),
        ("ERROR: Could not find a version that satisfies", "lacks a package for Python 3"),
        ("error: subprocess-exited-with-error", "pip failed"),
    ],
)
def test_pip_fails(machine, pip, reason):
    """What it said, and what that means in the last line."""
    fails = f'case "$*" in *install*) echo "{pip}"; exit 1 ;; *config*) exit 1 ;; esac'
    python = machine.program("python3.13", fails)
    done = subprocess.run(
        ["sh", machine.project / "envs" / "install.sh", python],
        env={"PATH": str(machine.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and pip in done.stderr
    assert done.stderr.splitlines()[-1].startswith("vmm's environment: ")
    assert reason in done.stderr.splitlines()[-1]


def test_no_network(machine):
    """With a real pip, which finds nobody at its index's address."""
    machine.program("python3.13")
    away = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    status, said = machine.setup(PIP_CONFIG_FILE=os.devnull, PIP_NO_CACHE_DIR="1", **away)
    assert status != 0 and "is there a network" in said
