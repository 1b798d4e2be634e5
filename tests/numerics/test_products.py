"""Matrix products: by oneDNN or not, alone or T at once, they are those of PyTorch."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import vmap

import vmm.numerics.products
from vmm.numerics.products import affine, product, without_onednn

N, A, B, T = 7, 5, 4, 3
onednn = pytest.mark.skipif(vmm.numerics.products._LINEAR is None, reason="PyTorch without oneDNN")


@pytest.fixture(params=[pytest.param(True, marks=onednn), False], ids=["onednn", "plain"])
def by_onednn(request, monkeypatch):
    monkeypatch.setattr(vmm.numerics.products, "LARGE", 0)
    with nullcontext() if request.param else without_onednn():
        assert vmm.numerics.products._by_onednn(torch.ones(1, 1), torch.ones(1, 1)) == request.param
        yield


def draw(*shape: int, seed: int, dtype=torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def inputs(*front: int, dtype=torch.float32) -> list[Tensor]:
    shapes = (N, A), (B, A), (B,)
    return [draw(*front, *s, seed=i, dtype=dtype) for i, s in enumerate(shapes)]


def value_and_gradients(function, leaves: list[Tensor]) -> list[Tensor]:
    leaves = [leaf.clone().requires_grad_() for leaf in leaves]
    output = function(*leaves)
    weight = torch.linspace(-1, 2, output.numel(), dtype=output.dtype).view(output.shape)
    return [output.detach(), *torch.autograd.grad((output.square() * weight).sum(), leaves)]


def assert_close(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


def test_affine_is_linear(by_onednn):
    assert_close(value_and_gradients(affine, inputs()), value_and_gradients(F.linear, inputs()))


def test_derivatives_in_double_precision():
    leaves = [leaf.requires_grad_() for leaf in inputs(dtype=torch.float64)]
    assert torch.autograd.gradcheck(affine, leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_affine_of_stacks(by_onednn, dtype):
    def one_by_one(*stacks):
        return torch.stack([F.linear(*each) for each in zip(*stacks, strict=True)])

    ours, theirs = (
        value_and_gradients(f, inputs(T, dtype=dtype)) for f in (vmap(affine), one_by_one)
    )
    assert_close(ours, theirs)


def test_what_is_not_stacked_serves_all(by_onednn):
    x, weight, bias = inputs()
    mapped = vmap(affine, in_dims=(None, -1, None))(x, weight.unsqueeze(-1).expand(-1, -1, T), bias)
    assert_close(list(mapped), [F.linear(x, weight, bias)] * T)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_product_of_any_strides(by_onednn, transposed, with_bias):
    a, b = draw(N, A, seed=0), draw(A, B, seed=1)
    bias = draw(B, seed=2) if with_bias else None
    if transposed:
        a, b = a.T.contiguous().T, b.T.contiguous().T
    expected = a @ b if bias is None else a @ b + bias
    torch.testing.assert_close(product(a, b, bias), expected)
    stacked = product(
        *(v.expand(T, *v.shape) for v in (a, b)), None if bias is None else bias.expand(T, B)
    )
    torch.testing.assert_close(stacked, expected.expand(T, N, B))


@onednn
def test_onednn_is_used_where_it_may_be(monkeypatch):
    used = []
    ours = vmm.numerics.products._LINEAR
    monkeypatch.setattr(
        vmm.numerics.products, "_LINEAR", lambda *given: used.append(1) or ours(*given)
    )
    x, weight, bias = inputs()
    affine(x, weight, bias)
    assert used == [], "of small ones calling it would cost more than it saves"
    monkeypatch.setattr(vmm.numerics.products, "LARGE", N * A * B)
    affine(x, weight, bias)
    assert used == [1]
    affine(x.double(), weight.double(), bias.double())
    affine(*(value.to("meta") for value in (x, weight, bias)))
    with without_onednn():
        affine(x, weight, bias)
    assert used == [1]


def test_a_pytorch_without_the_operator(monkeypatch):
    class Nothing:
        pass

    monkeypatch.setattr(torch.ops, "mkldnn", Nothing())
    assert vmm.numerics.products._find_linear() is None
    monkeypatch.setattr(vmm.numerics.products, "LARGE", 0)
    monkeypatch.setattr(vmm.numerics.products, "_LINEAR", None)
    assert_close(value_and_gradients(affine, inputs()), value_and_gradients(F.linear, inputs()))
