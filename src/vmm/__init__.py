"""The VampPrior Mixture Model: priors, models and inference.

``vmm.SCVI`` is the model for single-cell data with the interface of scvi-tools. It is imported when
it is first asked for: the jobs of the pipeline need torch alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm.scvi import SCVI

    __version__: str

__all__ = ["SCVI", "__version__"]
# Packages that are imported when they are asked for, as `vmm.priors`.
FLOORS = ("benchmark", "data", "models", "numerics", "paper", "plots", "priors", "scvi", "training")


def __getattr__(name: str):
    if name == "SCVI":
        try:
            from vmm.scvi import SCVI
        except ModuleNotFoundError as error:
            from vmm.versions import INSTALL_API

            raise ImportError(f"vmm.SCVI needs {error.name}: {INSTALL_API}") from error

        return SCVI
    if name == "__version__":
        from importlib.metadata import version

        from vmm.versions import DISTRIBUTION

        return version(DISTRIBUTION)
    if name in FLOORS:
        from importlib import import_module

        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *FLOORS])
