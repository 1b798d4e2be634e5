"""MNIST: handwritten digits."""

from __future__ import annotations

from vmm.data.raw import Config, Files, RawImages
from vmm.data.sources.idx import read_set


def read(files: Files, config: Config) -> RawImages:
    """Read the four files of MNIST; its test images are for validation."""
    return read_set(files, [str(digit) for digit in range(10)])
