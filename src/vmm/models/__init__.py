"""Models: each takes any prior."""

from __future__ import annotations

from vmm.lazy import exports
from vmm.models.records import MODELS

__getattr__, _exported = exports(
    __name__,
    {"LatentVariableModel": "vmm.models.base:LatentVariableModel"}
    | {record.cls.partition(":")[2]: record.cls for record in MODELS.values()},
)
__all__ = [*_exported, "MODELS"]
