"""Data sets that live on the device: a batch is an index."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vmm.data.containers import CellData, ImageData
from vmm.data.covariates import Covariates
from vmm.models.counts import put, sum_of_bits, total


class CellBatch(NamedTuple):
    """A batch of n cells.

    Attributes
    ----------
    counts : torch.Tensor, shape (n, G)
        Counts as floats; only pseudo-inputs have fractional ones.
    covariates : torch.Tensor, shape (n, C)
        Continuous covariates, then each categorical one one-hot, then the one-hot batch: most data
        have the last only.
    library : torch.Tensor, shape (n,)
        What the expected counts are scaled by: the sum of the counts, or the size factor.
    """

    counts: Tensor
    covariates: Tensor
    library: Tensor

    def __len__(self) -> int:
        return len(self.counts)


class ImageTensors:
    """Images on the device.

    Parameters
    ----------
    pixels : array, shape (N, D)
        ``uint8`` in 0…255 (kept so; scaled batch by batch) or floats in [−1, 1].
    device : str or torch.device
    """

    def __init__(self, pixels: np.ndarray, device: str | torch.device = "cpu"):
        dtype = torch.uint8 if pixels.dtype == np.uint8 else torch.float32
        self.pixels = torch.as_tensor(np.ascontiguousarray(pixels)).to(device, dtype)

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.pixels.device

    def total(self) -> int:
        """Return :func:`sum_of_bits` of all pixels: tells data sets apart."""
        return sum_of_bits(self.pixels)

    def batch(self, index: Tensor) -> Tensor:
        """Return the images of `index` (n,), shape (n, D), in [−1, 1]."""
        pixels = self.pixels[index]
        return pixels.float() / 127.5 - 1 if pixels.dtype == torch.uint8 else pixels


class CellTensors:
    """Counts with what is known of their cells; see :func:`vmm.models.counts.put`.

    Parameters
    ----------
    counts : scipy.sparse matrix or array, shape (N, G)
        Non-negative integers. The command line and the benchmark accept no others; others are kept
        as floats.
    batch : array of int, shape (N,)
        Batch of each cell, 0…B−1.
    n_batches : int
        Number B of batches.
    device : str or torch.device
    covariates : Covariates
        What else is known of the cells.
    """

    def __init__(
        self,
        counts,
        batch: np.ndarray,
        n_batches: int,
        device: str | torch.device = "cpu",
        covariates: Covariates | None = None,
    ):
        self.counts = put(counts, device)
        self.codes = torch.as_tensor(batch, dtype=torch.long, device=device)
        self.n_batches = n_batches
        self._one_hot = torch.eye(n_batches, device=device)
        known = covariates or Covariates()
        self.n_categories, self.n_continuous = known.n_categories, len(known.continuous)
        self._continuous = [_floats(values, device) for values in known.continuous.values()]
        self._categories = [
            (torch.as_tensor(codes, dtype=torch.long, device=device), torch.eye(n, device=device))
            for (codes, _), n in zip(known.categorical.values(), self.n_categories, strict=True)
        ]
        factor = known.size_factor
        self.size_factor = None if factor is None else _floats(factor, device)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.counts.device

    def total(self) -> int:
        """Return the sum of bits of all counts: tells data sets apart.

        Of covariates, which repeat, it also counts which cell has which.
        """
        codes = [codes for codes, _ in self._categories]
        floats = self._continuous + ([] if self.size_factor is None else [self.size_factor])
        order = torch.arange(1, len(self) + 1, device=self.device)
        columns = codes + [values.view(torch.int32) for values in floats]
        weighted = (place * sum_of_bits(order * bits) for place, bits in enumerate(columns, 1))
        return (total(self.counts) + sum(weighted)) % 2**64

    def batch(self, index: Tensor) -> CellBatch:
        """Return the cells of `index` (n,)."""
        counts, covariates = self.counts[index].float(), self._one_hot[self.codes[index]]
        if self._continuous or self._categories:
            numbers = [values[index].unsqueeze(-1) for values in self._continuous]
            categories = [one_hot[codes[index]] for codes, one_hot in self._categories]
            covariates = torch.cat([*numbers, *categories, covariates], -1)
        library = counts.sum(-1) if self.size_factor is None else self.size_factor[index]
        return CellBatch(counts, covariates, library)


def _floats(values: np.ndarray, device: str | torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device)


Tensors = ImageTensors | CellTensors


def to_tensors(data: CellData | ImageData, device: str | torch.device) -> Tensors:
    """Put a prepared data set on the device."""
    if isinstance(data, CellData):
        return CellTensors(data.counts, data.batch, data.n_batches, device, data.covariates)
    return ImageTensors(data.x, device)
