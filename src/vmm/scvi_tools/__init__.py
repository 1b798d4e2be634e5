"""Models of scvi-tools with the priors of this package: ``vmm.TOTALVI`` and others.

:func:`with_prior` makes them; those of :data:`MODELS` are ready by their names.
"""

from __future__ import annotations

from typing import Any

from vmm.lazy import resolve
from vmm.scvi_tools.model import with_prior
from vmm.scvi_tools.records import MODELS, ModelRecord

__all__ = ["MODELS", "ModelRecord", "with_prior", *MODELS]


def __getattr__(name: str) -> Any:
    if name in MODELS:
        return with_prior(resolve(MODELS[name].cls))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
