"""A model for single-cell data with the interface of scvi-tools, trained by this package's core."""

from vmm.scvi.model import SCVI

__all__ = ["SCVI"]
