"""The distribution's name, and the versions that results record."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import vmm
from vmm import versions

PROJECT = Path(__file__).resolve().parents[1] / "pyproject.toml"


def test_the_name_is_the_projects():
    """And not that of the package that has the name ``vmm`` on the package index."""
    assert tomllib.loads(PROJECT.read_text())["project"]["name"] == versions.DISTRIBUTION
    assert vmm.__version__ == versions.installed()["vmm"].partition("+")[0]


def test_versions_of_what_is_installed():
    found = versions.installed("torch", "no-such-package")
    assert list(found) == ["python", "vmm", "torch"]
    assert found["python"] == platform.python_version() and found["torch"] == torch.__version__


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_commit_of_a_clone_is_named(tmp_path, monkeypatch):
    def git(*words):
        identity = ["-c", "user.name=me", "-c", "user.email=me@here"]
        subprocess.run(["git", "-C", tmp_path, *identity, *words], check=True, capture_output=True)

    monkeypatch.setattr(versions, "ROOT", tmp_path)
    commit = versions.commit.__wrapped__
    assert commit() == ""
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("")
    git("init")
    git("add", "-A")
    git("commit", "-m", "first")
    name = commit()
    assert re.fullmatch(r"[0-9a-f]{7,}", name)
    (tmp_path / "notes.txt").write_text("of no account")
    assert commit() == name and commit("*.txt") == f"{name}.changed"
    (tmp_path / "src" / "a.py").write_text("1")
    assert commit() == f"{name}.changed"


def test_the_build_of_pytorch_is_named(tmp_path, monkeypatch):
    """On PyPI the metadata of a build for CUDA are those of any other."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('seconds of waiting')")
    (tmp_path / "torch" / "version.py").write_text("__version__ = '2.13.0+cu130'\ndebug = False\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torch")
    assert versions.installed("torch")["torch"] == "2.13.0+cu130"


def test_source_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(versions, "DISTRIBUTION", "no-such-package")
    assert "vmm" not in versions.installed("torch")
    with pytest.raises(ImportError, match="no-such-package"):
        _ = vmm.__version__


@pytest.mark.parametrize(
    ("found", "least", "unmet"),
    [("1.4.2", "1.5", True), ("1.5.0", "1.5", False), ("1.10.0", "1.5", False), ("1.5", "2", True)],
)
def test_what_is_too_old(found, least, unmet, monkeypatch):
    monkeypatch.setattr(versions, "version", lambda name: found)
    assert versions.unmet("package", least) == (f"{found} is installed" if unmet else None)


def test_what_is_not_installed():
    assert versions.unmet("no-such-package", "1") == "it is not installed"
