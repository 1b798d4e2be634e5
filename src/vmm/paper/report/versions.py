"""Versions of the packages that decide the numbers."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "vmm", "torch", "numpy", "scipy", "scikit-learn", "scikit-misc", "pandas", "anndata", "scanpy",
    "scvi-tools", "lightning", "scib-metrics", "jax", "pymde", "harmonypy", "scanorama",
    "leidenalg", "igraph", "matplotlib",
)  # fmt: skip


def installed() -> dict[str, str]:
    """Return the versions of what is installed here."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def recorded(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the versions that trainings wrote into their ``run.json``."""
    found: dict[str, set[str]] = {}
    for run in runs.values():
        for package, number in run.get("versions", {}).items():
            found.setdefault(package, set()).add(str(number))
    return {package: sorted(numbers) for package, numbers in found.items()}
