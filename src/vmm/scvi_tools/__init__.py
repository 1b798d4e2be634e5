"""Models of scvi-tools with the priors of this package: ``vmm.TOTALVI`` and others.

:func:`with_prior` makes them; those of :data:`MODELS` are ready by their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmm.lazy import resolve
from vmm.scvi_tools.records import MODELS, ModelRecord

if TYPE_CHECKING:
    from vmm.scvi_tools.model import with_prior

__all__ = ["MODELS", "ModelRecord", "with_prior", *MODELS]


def __getattr__(name: str) -> Any:  # so that the benchmark reads the records alone
    if name == "with_prior" or name in MODELS:
        made: Any = resolve("vmm.scvi_tools.model:with_prior")
        return made(resolve(MODELS[name].cls)) if name in MODELS else made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
