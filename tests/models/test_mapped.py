"""Layers mapped by one call: values, derivatives and running statistics are PyTorch's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from vmm.models import mapped
from vmm.models.mapped import with_mapped_layers
from vmm.models.networks import HiddenLayer
from vmm.numerics.products import affine, stackable_affine

T, N, A, B = 3, 7, 5, 4


def doubles(*shape: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def assert_mapped(ours, reference, inputs, statistics=()):
    """Assert that `ours`, mapped, is `reference` for each of T; also which inputs it updates."""
    results = []
    for function in (ours, reference):
        leaves = [value.clone().requires_grad_() for value in inputs]
        state = [value.clone() for value in statistics]
        if function is ours:
            output = vmap(function)(*leaves, *state)
        else:
            output = torch.stack([function(*(v[t] for v in (*leaves, *state))) for t in range(T)])
        weight = torch.linspace(-1, 2, output.numel(), dtype=torch.float64).view(output.shape)
        gradients = torch.autograd.grad((output.square() * weight).sum(), leaves)
        results.append([output.detach(), *gradients, *state])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(training):
    inputs = 2 + doubles(T, N, A, seed=3), doubles(T, A, seed=4), doubles(T, A, seed=5)
    statistics = doubles(T, A, seed=6), doubles(T, A, seed=7).exp()

    def normalised(function):
        def call(x, weight, bias, mean, var):
            return function(x, mean, var, weight, bias, training, 0.01, 1e-3)

        return call

    ours, reference = normalised(mapped._batch_norm), normalised(F.batch_norm)
    assert_mapped(ours, reference, inputs, statistics)
    if training:
        first = statistics[0].clone()
        vmap(ours)(*inputs, first, statistics[1].clone())
        assert not torch.equal(first, statistics[0]), "the running mean moves"


def test_the_model_itself_keeps_its_layers():
    layer = HiddenLayer(A, B, 0.1)
    copy = with_mapped_layers(layer)
    assert copy.batch_norm is mapped._batch_norm and layer.batch_norm is F.batch_norm
    assert copy.linear.affine is stackable_affine and layer.linear.affine is affine
