"""Models: each takes any prior."""

from __future__ import annotations

from vmm.lazy import exports
from vmm.models.records import MODELS

__getattr__, __dir__, __all__ = exports(
    __name__,
    {"LatentVariableModel": "vmm.models.base:LatentVariableModel"}
    | {record.cls.partition(":")[2]: record.cls for record in MODELS.values()},
    also=("MODELS",),
)
