"""What the locks of the environment say, and whether they are what is installed here."""

from __future__ import annotations

import re
from importlib.metadata import distributions
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(name: str) -> list[tuple[Requirement, list[str]]]:
    """Return the requirements of a lock file, each with its options."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    parts = [line.partition(" --")[::2] for line in lines]
    return [(Requirement(pin), f"--{options}".split()) for pin, options in parts]


def locked(python: str | None = None) -> dict[str, str]:
    """Return the version of each package that the locks have for a Python, on Linux."""
    markers = {"sys_platform": "linux"}
    if python:
        markers |= {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    found: dict[str, str] = {}
    for pin, _ in entries("requirements.lock") + entries("requirements-torch.lock"):
        if pin.marker is None or pin.marker.evaluate(default_environment() | markers):
            assert canonical(pin.name) not in found, f"{pin.name} has two versions on {python}"
            found[canonical(pin.name)] = str(pin.specifier).removeprefix("==")
    return found


def differing() -> dict[str, str]:
    """Return what is installed here in another version than the locks', PyTorch's build aside."""
    here, pins = {canonical(one.name): one.version for one in distributions()}, locked()
    shared = (here.keys() & pins) - {"torch"}
    return {name: here[name] for name in sorted(shared) if here[name] != pins[name]}
