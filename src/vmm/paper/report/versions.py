"""Versions of the packages that decide the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmm.versions import installed

PACKAGES = (
    "torch", "numpy", "scipy", "scikit-learn", "scikit-misc", "pandas", "anndata", "scanpy",
    "scvi-tools", "lightning", "scib-metrics", "jax", "pymde", "harmonypy", "scanorama",
    "leidenalg", "igraph", "matplotlib",
)  # fmt: skip


def environment() -> dict[str, str]:
    """Return the versions of what is installed here."""
    return installed(*PACKAGES)


def recorded(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the versions that trainings wrote into their ``run.json``."""
    found: dict[str, set[str]] = {}
    for run in runs.values():
        for package, number in run.get("versions", {}).items():
            found.setdefault(package, set()).add(str(number))
    return {package: sorted(numbers) for package, numbers in found.items()}
