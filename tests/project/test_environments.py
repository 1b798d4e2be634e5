"""The conda environments, the lock file and the package's metadata tell the same story."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from vmm.benchmark.provenance import SRC, Source, dependencies

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
CONDA_NAMES = {"pytorch": "torch", "python-igraph": "igraph"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(name: str) -> list[list[str]]:
    """Return the words of each requirement of a lock file: the pin, then its options."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def lock() -> dict[str, str]:
    found = entries("requirements.lock") + entries("requirements-torch.lock")
    pins = [words[0].split("==") for words in found]
    assert len({canonical(name) for name, _ in pins}) == len(pins)
    return {canonical(name): version for name, version in pins}


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
    assert names - {project["name"]} <= lock.keys()


def test_every_package_is_pinned_by_the_hashes_of_its_files():
    """So that `pip --require-hashes` installs what was tested, and nothing from elsewhere."""
    found = entries("requirements.lock")
    assert len(found) > 200
    for pin, *options in found:
        assert re.fullmatch(r"[\w.-]+==[\w.!+]+", pin), pin
        assert options, f"{pin} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options), pin
        assert len(set(options)) == len(options), pin


def test_pytorch_alone_has_no_hash():
    """Its builds are many, and not all on PyPI: see the comment in its lock."""
    assert [words for words in entries("requirements-torch.lock")] == [["torch==2.13.0"]]
    setup = (ROOT / "Makefile").read_text()
    assert "--require-hashes --no-deps -r requirements.lock" in setup
    assert setup.count("-r requirements-torch.lock") == 1


# ------------------------------------------------------------------------- what jobs import

INSTALLED = packages_distributions()
NOT_CALLED = {("figure_mde.py", "anndata")}  # by CellData.to_anndata


def rules() -> list[tuple[str, str]]:
    """Return script and environment of each rule."""
    text = "\n".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    blocks = re.split(r"^rule ", text, flags=re.MULTILINE)[1:]
    pattern = re.compile(r"envs/(\w+\.yaml).*scripts/(\w+\.py)", re.DOTALL)
    return sorted(pattern.search(block).groups()[::-1] for block in blocks)


def third_party(script: Path) -> set[str]:
    """Return the packages that a script needs: those imported by the files that it depends on."""
    names = [name for name in dependencies(script) if name.endswith(".py")]
    files = [SRC / name if "/" in name else script.with_name(name) for name in names]
    imports = [one for file in files for one in Source(file, SRC).imports]
    found = {module.partition(".")[0] for module, _ in imports} - {"vmm", "_script", "_rows"}
    return {name for name in found if name not in sys.stdlib_module_names}


def with_dependencies(names: list[str]) -> set[str]:
    """Return distributions with all that they require."""
    found, waiting = set(), list(names)
    while waiting:
        name = canonical(waiting.pop())
        if name not in found:
            found.add(name)
            try:
                needs = [Requirement(one) for one in requires(name) or []]
            except PackageNotFoundError:  # such as those for another system
                continue
            needs = [one for one in needs if not one.marker or one.marker.evaluate({"extra": ""})]
            waiting += [one.name for one in needs]
    return found


@pytest.mark.parametrize(("script", "environment"), rules())
def test_an_environment_has_what_its_scripts_import(script, environment):
    """Snakemake would take the package from its own environment, of whatever version."""
    pins = yaml.safe_load((ROOT / "envs" / environment).read_text())["dependencies"]
    names = [pin.split()[0] for pin in pins]
    there = with_dependencies([CONDA_NAMES.get(name, name) for name in names])
    needed = third_party(ROOT / "workflow" / "scripts" / script)
    assert needed, "every script needs some"
    missing = {name for name in needed if not set(map(canonical, INSTALLED[name])) & there}
    assert {(script, name) for name in missing} <= NOT_CALLED
