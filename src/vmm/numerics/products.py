"""Matrix products: on the CPU by oneDNN, on a GPU with the precision that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vmm.numerics.closed_form import map_at_once

Precision = Literal["float32", "tf32", "bf16"]
LARGE = 2**22
"""Multiplications in a product from which oneDNN wins more than calling it costs."""


def affine(x: Tensor, weight: Tensor, bias: Tensor, precision: Precision = "float32") -> Tensor:
    """Return x Wᵀ + b, shape (n, n_out), as `torch.nn.functional.linear` does.

    Parameters
    ----------
    x : torch.Tensor, shape (n, n_in)
    weight : torch.Tensor, shape (n_out, n_in)
    bias : torch.Tensor, shape (n_out,)
    precision : {"float32", "tf32", "bf16"}
        Of the products of the forward and the backward pass; all that is given and returned is
        float32.
    """
    if precision == "float32" and not _by_onednn(x, weight.mT):
        return F.linear(x, weight, bias)
    return stackable_affine(x, weight, bias, precision)


def stackable_affine(
    x: Tensor, weight: Tensor, bias: Tensor, precision: Precision = "float32"
) -> Tensor:
    """Return the same; under `torch.func.vmap`, T inputs by T weights take one operator each."""
    return _Affine.apply(x, weight, bias, precision)


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(x, weight, bias, precision):
        return product(x, weight.mT, bias, precision)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, _, ctx.precision = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx, grad):
        (x, weight), (for_x, for_weight, for_bias, _) = ctx.saved_tensors, ctx.needs_input_grad
        return (
            product(grad, weight, precision=ctx.precision) if for_x else None,
            product(grad.mT, x, precision=ctx.precision) if for_weight else None,
            grad.sum(-2) if for_bias else None,
            None,
        )

    @staticmethod
    def vmap(info, in_dims, *inputs):
        return map_at_once(_Affine, info, in_dims, inputs)


def product(
    a: Tensor, b: Tensor, bias: Tensor | None = None, precision: Precision = "float32"
) -> Tensor:
    """Return a b + bias without derivatives, for a (n, m), b (m, k), bias (k,), or T of each."""
    if precision == "bf16":
        result = (a.bfloat16() @ b.bfloat16()).float()
        return result if bias is None else result + bias.unsqueeze(-2)
    if precision == "tf32":
        matmul = torch.backends.cuda.matmul
        before = matmul.fp32_precision
        matmul.fp32_precision = "tf32"
        try:
            return product(a, b, bias)
        finally:
            matmul.fp32_precision = before
    if _by_onednn(a, b):
        if a.dim() == 3:
            biases = [None] * len(a) if bias is None else bias
            return torch.stack([_onednn(*each) for each in zip(a, b, biases, strict=True)])
        return _onednn(a, b, bias)
    if a.dim() == 3:
        return torch.bmm(a, b) if bias is None else torch.baddbmm(bias.unsqueeze(-2), a, b)
    return torch.mm(a, b) if bias is None else torch.addmm(bias, a, b)


def _onednn(a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
    assert _LINEAR is not None, "see _by_onednn"
    return _LINEAR(_dense(a), _dense(b).mT, bias, "none", [], "")


def _dense(matrix: Tensor) -> Tensor:
    """Return a matrix by rows or by columns: other strides would cost a hundred times the time."""
    as_it_is = matrix.is_contiguous() or matrix.mT.is_contiguous()
    return matrix if as_it_is else matrix.contiguous()


def _by_onednn(a: Tensor, b: Tensor) -> bool:
    """Whether to ask oneDNN for a b, or T of it."""
    large = a.shape[-2] * a.shape[-1] * b.shape[-1] >= LARGE
    fits = large and a.device.type == "cpu" and a.dtype == torch.float32
    return fits and _LINEAR is not None and bool(torch.backends.mkldnn.enabled)


@contextmanager
def float32_products() -> Iterator[None]:
    """Let products of float32 be float32 within the block, whatever the user set for the process.

    With ``torch.set_float32_matmul_precision("high")`` or ``"medium"`` they have the mantissa of
    TF32 or of bfloat16, those within the priors' densities too. What is less precise here is so by
    :func:`product` alone.
    """
    onednn: Any = torch.backends.mkldnn  # whose types forbid what its documentation shows
    backends = (torch.backends.cuda.matmul, onednn.matmul)
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        yield
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision


@contextmanager
def without_onednn() -> Iterator[None]:
    """Let the products on the CPU be PyTorch's own: the operators that a GPU is asked for."""
    onednn: Any = torch.backends.mkldnn  # whose types forbid what its documentation shows
    before, onednn.enabled = onednn.enabled, False
    try:
        yield
    finally:
        onednn.enabled = before


def _find_linear() -> Callable | None:
    """Return PyTorch's operator for a linear layer by oneDNN, if this PyTorch has it.

    PyTorch's own products are those of MKL, which on processors that are not Intel's take twice as
    long. The operator is the one that its compiler uses; it has no derivatives.
    """
    try:
        linear = torch.ops.mkldnn._linear_pointwise
        linear(torch.ones(2, 3), torch.ones(4, 3), None, "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    return linear


_LINEAR = _find_linear()
