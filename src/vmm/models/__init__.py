"""Models: each takes any prior."""

from vmm.models.base import LatentVariableModel
from vmm.models.image_vae import ImageVAE
from vmm.models.scvi import SCVI

__all__ = ["SCVI", "ImageVAE", "LatentVariableModel"]
