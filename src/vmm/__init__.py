"""The VampPrior Mixture Model: priors, models and inference.

``vmm.SCVI`` is the model for single-cell data with the interface of scvi-tools. It is imported when
it is first asked for: the jobs of the pipeline need torch alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmm.api import SCVI

__all__ = ["SCVI"]


def __getattr__(name: str):
    if name == "SCVI":
        from vmm.api import SCVI

        return SCVI
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
