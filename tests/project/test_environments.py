"""The lock file, the package's metadata and the environment of conda tell the same story."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from importlib.metadata import distributions, packages_distributions, requires
from pathlib import Path

import pytest
import yaml
from locks import canonical, differing, entries, locked
from packaging.requirements import Requirement
from packaging.version import Version

from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.provenance import SRC, Source, dependencies

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / "envs" / "vmm.yaml"
PYTHONS = ("3.11.0", "3.12.0", "3.13.0", "3.14.0")


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    needs = [Requirement(one) for group in groups for one in group]
    return [one for one in needs if one.name != project["name"]]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_every_declared_dependency_for_each_python(python):
    versions = locked(python)
    for need in declared():
        assert Version(versions[canonical(need.name)]) in need.specifier, need


def test_a_locked_package_has_what_it_requires():
    """As the packages say that are installed here; what pymde asks for is left out on purpose."""
    if differing():
        pytest.skip(f"not the versions of the lock are installed here: {differing()}")
    versions = locked()
    here = {canonical(one.name) for one in distributions()}
    for name in (versions.keys() & here) - {"torch"}:  # what PyTorch needs, pip resolves
        needs = [Requirement(one) for one in requires(name) or []]
        needs = [one for one in needs if not one.marker or one.marker.evaluate({"extra": ""})]
        for need in needs:
            if (name, need.name) != ("pymde", "torchvision"):
                found = versions.get(canonical(need.name))
                assert found and need.specifier.contains(found, prereleases=True), (name, need)


def test_two_generations_of_the_libraries():
    assert (
        Version(locked("3.11.0")["scvi-tools"])
        < Version("1.5")
        <= Version(locked("3.13.0")["scvi-tools"])
    )


def test_the_page_on_installation_says_what_is_locked():
    page = (ROOT / "docs" / "install.md").read_text()
    old, new = locked("3.11.0"), locked("3.13.0")
    for row in (["scvi-tools"], ["scib-metrics"], ["scanpy", "anndata", "pandas"]):
        cells = [", ".join(part) for part in ([v[name] for name in row] for v in (old, new))]
        assert f"| {', '.join(row)} | {cells[0]} | {cells[1]} |" in page, "docs/install.md is old"


def test_every_package_is_pinned_by_the_hashes_of_its_files():
    """So that `pip --require-hashes` installs what was tested, and nothing from elsewhere."""
    found = entries("requirements.lock")
    assert len(found) > 200
    for pin, options in found:
        assert re.fullmatch(r"==[\w.!+]+", str(pin.specifier)), pin
        assert options, f"{pin} has no hash"
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", option) for option in options), pin
        assert len(set(options)) == len(options), pin


def test_pytorch_alone_has_no_hash():
    """Its builds are many, and not all on PyPI: see the comment in its lock."""
    assert [str(pin) for pin, _ in entries("requirements-torch.lock")] == ["torch==2.13.0"]
    install = (ROOT / "envs" / "install.sh").read_text()
    assert "--require-hashes --no-deps -r requirements.lock" in install
    assert install.count("-r requirements-torch.lock") == 1


# ------------------------------------------------------------------------------------ conda


def test_every_rule_has_the_environment():
    named = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        named |= set(re.findall(r'"\.\./\.\./(envs/\w+\.yaml)"', path.read_text()))
    assert named == {"envs/vmm.yaml"}


def test_conda_brings_a_tested_python_and_no_package_of_the_lock():
    environment = yaml.safe_load(ENVIRONMENT.read_text())
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    python, *others = environment["dependencies"]
    assert re.fullmatch(r"python =3\.\d+", python) and f"3.{python.rpartition('.')[2]}.0" in PYTHONS
    assert others == ["pip", "cxx-compiler"]


def test_methods_with_an_environment_of_their_own():
    """It has what theirs needs, and all else that the others have."""
    others = {r.environment: r.needs for r in METHODS["images"].values() if r.environment}
    assert set(others) == {path.stem for path in ENVIRONMENT.parent.glob("*.yaml")} - {"vmm"}
    for name, (package, version) in others.items():
        own = yaml.safe_load(ENVIRONMENT.with_stem(name).read_text())
        assert own == yaml.safe_load(ENVIRONMENT.read_text())
        script = ENVIRONMENT.with_name(f"{name}.post-deploy.sh").read_text()
        assert f'sh "$VMM_PROJECT/envs/install.sh" python envs/{name}.lock' in script
        ((pin, options),) = entries(f"envs/{name}.lock")
        assert str(pin) == f"{package}=={version}" and options


def test_another_lock_is_another_environment():
    """Snakemake makes it anew when the script changes, of which it knows nothing but the text."""
    stamp = runpy.run_path(str(ROOT / "envs" / "stamp.py"))["stamp"]()
    for script in (ROOT / "envs").glob("*.post-deploy.sh"):
        told = "run `make lock`, or python envs/stamp.py"
        assert f"# LOCKS {stamp}\n" in script.read_text(), told


# ------------------------------------------------------------------------- what jobs import

INSTALLED = packages_distributions()


def scripts() -> list[Path]:
    found = sorted((ROOT / "workflow" / "scripts").glob("[a-z]*.py"))
    assert len(found) > 15
    return found


def third_party(script: Path) -> set[str]:
    """Return the packages that a script needs: those imported by the files that it depends on."""
    names = [name for name in dependencies(script) if name.endswith(".py")]
    files = [SRC / name if "/" in name else script.with_name(name) for name in names]
    imports = [one for file in files for one in Source(file, SRC).imports]
    found = {module.partition(".")[0] for module, _ in imports} - {"vmm", "_script", "_rows"}
    return {name for name in found if name not in sys.stdlib_module_names}


@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.stem)
def test_the_lock_has_what_a_script_imports(script):
    """Snakemake would take the package from its own environment, of whatever version."""
    needed = third_party(script)
    assert needed, "every script needs some"
    lock = locked()
    missing = {name for name in needed if not set(map(canonical, INSTALLED[name])) & lock.keys()}
    assert not missing
