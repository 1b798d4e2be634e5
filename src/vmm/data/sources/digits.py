"""Handwritten digits of 8 × 8 pixels, as bundled with scikit-learn."""

from __future__ import annotations

import numpy as np

from vmm.data.raw import Config, Files, RawImages


def read(files: Files, config: Config) -> RawImages:
    """Read scikit-learn's handwritten digits: 1797 images of 8 × 8 pixels with values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = (digits.data / 8 - 1).astype(np.float32)
    return RawImages(x, digits.target.astype(np.int64), [str(d) for d in range(10)], (8, 8))
