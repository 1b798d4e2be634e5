"""The conda environments, the lock file and the package's metadata tell the same story."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
CONDA_NAMES = {"pytorch": "torch", "python-igraph": "igraph"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line.split("==") for line in lines if "==" in line and not line.startswith("#")]
    return {canonical(name): version.split()[0] for name, version in pins}


def test_every_rule_has_an_environment_of_these():
    named = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        named |= set(re.findall(r'"\.\./\.\./(envs/\w+\.yaml)"', path.read_text()))
    assert named == {f"envs/{path.name}" for path in ENVIRONMENTS}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.stem)
def test_conda_pins_what_the_lock_pins(path, lock):
    environment = yaml.safe_load(path.read_text())
    assert environment["channels"][-1] == "nodefaults"
    for pin in environment["dependencies"]:
        name, version = re.fullmatch(r"([\w-]+) =([\d.]+)", pin).groups()
        if name == "python":
            assert version == "3.11"
        else:
            assert lock[canonical(CONDA_NAMES.get(name, name))] == version, pin


def test_the_lock_has_every_declared_dependency(lock):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {canonical(re.match(r"[\w.-]+", one)[0]) for group in groups for one in group}
    assert names - {"vmm"} <= lock.keys()
