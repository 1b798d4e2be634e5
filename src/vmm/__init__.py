"""The VampPrior Mixture Model: priors, models and inference.

``vmm.SCVI`` is the model for single-cell data with the interface of scvi-tools; ``vmm.TOTALVI`` and
others are the models of scvi-tools itself with our priors. They are imported when they are first
asked for: the jobs of the pipeline need torch alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vmm.scvi import SCVI
    from vmm.scvi_tools import with_prior

    CYTOVI: Any
    LinearSCVI: Any
    MULTIVI: Any
    PEAKVI: Any
    POISSONVI: Any
    TOTALVI: Any
    __version__: str

__all__ = [
    "CYTOVI",
    "MULTIVI",
    "PEAKVI",
    "POISSONVI",
    "SCVI",
    "TOTALVI",
    "LinearSCVI",
    "__version__",
    "with_prior",
]
# Packages that are imported when they are asked for, as `vmm.priors`.
FLOORS = (
    "benchmark",
    "data",
    "models",
    "numerics",
    "paper",
    "plots",
    "priors",
    "scvi",
    "scvi_tools",
    "training",
)


def __getattr__(name: str):
    if name == "__version__":
        from importlib.metadata import version

        from vmm.versions import DISTRIBUTION

        return version(DISTRIBUTION)
    if name in __all__:
        package = "scvi" if name == "SCVI" else "scvi_tools"
        try:
            return getattr(import_module(f"{__name__}.{package}"), name)
        except ModuleNotFoundError as error:
            from vmm.versions import INSTALL_API

            raise ImportError(f"vmm.{name} needs {error.name}: {INSTALL_API}") from error
    if name in FLOORS:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *FLOORS])
