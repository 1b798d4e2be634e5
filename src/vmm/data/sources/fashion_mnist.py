"""Fashion-MNIST: articles of clothing, in the format of MNIST."""

from __future__ import annotations

from vmm.data.raw import Config, Files, RawImages
from vmm.data.sources.idx import read_set

CLASSES = [
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
]  # fmt: skip


def read(files: Files, config: Config) -> RawImages:
    """Read the four files of Fashion-MNIST; its test images are for validation."""
    return read_set(files, CLASSES)
