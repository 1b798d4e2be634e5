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


def __getattr__(name: str):
    if name == "SCVI":
        try:
            from vmm.scvi import SCVI
        except ModuleNotFoundError as error:
            raise ImportError(
                f"vmm.SCVI needs {error.name}: install vmm with its extra 'api', "
                "such as by pip install '.[api]'"
            ) from error

        return SCVI
    if name == "__version__":
        from importlib.metadata import version

        return version("vmm")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
