"""Data on the device: what is kept, and that nothing big is made beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse
import torch
from torch.profiler import profile

from vmm.models.counts import SLICE, sum_of_bits
from vmm.models.tensors import CellTensors, ImageTensors

N, G = 4 * SLICE, 50


def largest_tensor(work: Callable[[], object]) -> int:
    """Return the size in bytes of the largest tensor that `work` makes."""
    with profile(profile_memory=True) as recorded:
        work()
    return max(event.self_cpu_memory_usage for event in recorded.events())


@pytest.fixture(scope="module")
def counts() -> scipy.sparse.csr_matrix:
    rng = np.random.default_rng(0)
    return scipy.sparse.csr_matrix(rng.poisson(0.05, (N, G)).astype(np.int32))


@pytest.mark.parametrize(("largest", "bytes_each"), [(9, 1), (300, 2)])
def test_sparse_counts_become_one_dense_matrix_of_small_integers(counts, largest, bytes_each):
    counts = counts.copy()
    counts.data[0] = largest
    made = largest_tensor(lambda: CellTensors(counts, np.zeros(N), 1))
    assert made == N * G * bytes_each


def test_the_sum_of_all_counts_converts_a_slice_at_a_time(counts):
    cells = CellTensors(counts, np.zeros(N), 1)
    assert cells.total() == counts.sum()
    assert largest_tensor(cells.total) <= SLICE * G * 8


def test_the_sum_of_all_pixels_converts_a_slice_at_a_time():
    pixels = np.random.default_rng(0).integers(0, 256, (N, G)).astype(np.uint8)
    images = ImageTensors(pixels)
    assert images.total() == pixels.sum()
    assert largest_tensor(images.total) <= SLICE * G * 8


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_sum_of_bits_is_the_same_in_any_order(dtype):
    """A sum of floats is another on every device; this one sees the last bit of one value."""
    values = torch.randn(N, G, generator=torch.Generator().manual_seed(0)).to(dtype)
    total = sum_of_bits(values)
    assert {sum_of_bits(values[torch.randperm(N)].flip(1)) for _ in range(5)} == {total}
    assert sum_of_bits(values.T) == total
    values[N // 2, 1] = torch.nextafter(values[N // 2, 1], torch.ones((), dtype=dtype) * 9)
    assert abs(sum_of_bits(values) - total) == 1


def test_sums_of_bits_of_what_a_model_has_besides():
    assert sum_of_bits(torch.tensor(3)) == 3
    assert sum_of_bits(torch.tensor(0.0)) == 0
    assert sum_of_bits(torch.nn.Parameter(torch.ones(2))) == 2 * 0x3F800000
    assert sum_of_bits(torch.empty(0)) == 0


def test_a_batch_is_made_from_its_rows_only(counts):
    cells = CellTensors(counts, np.zeros(N), 1)
    rows = torch.randperm(N)[:64]
    assert largest_tensor(lambda: cells.batch(rows)) == 64 * G * 4
