"""Networks: Glorot-uniform linear layers, and hidden layers with batch normalisation."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vmm.numerics.gaussians import MIN_SCALE
from vmm.numerics.products import Precision, affine, stackable_affine

MOMENTUM = 0.01
"""Weight of a batch in the running statistics of batch normalisation: scVI's."""


class Linear(nn.Linear):
    """A linear layer whose matrix products may be less precise; all it takes and gives is float32.

    Attributes
    ----------
    precision : {"float32", "tf32", "bf16"}
        Of the products of the forward and the backward pass. Set by :func:`matrix_products`.
    """

    precision: Precision = "float32"
    affine = staticmethod(affine)

    def forward(self, x: Tensor) -> Tensor:
        """Return x Wᵀ + b, shape (n, n_out)."""
        return self.affine(x, self.weight, self.bias, self.precision)


@contextmanager
def matrix_products(model: nn.Module, precision: Precision) -> Iterator[None]:
    """Let the linear layers of `model` multiply with this precision, and nothing else."""
    layers = [module for module in model.modules() if isinstance(module, Linear)]
    for layer in layers:
        layer.precision = precision
    try:
        yield
    finally:
        for layer in layers:
            layer.precision = "float32"


def with_stackable_layers(model: nn.Module) -> nn.Module:
    """Return a copy of a model whose linear layers take few operators under `torch.func.vmap`."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Linear):
            module.affine = stackable_affine
    return model


def linear(n_in: int, n_out: int, generator: torch.Generator | None) -> Linear:
    """Return a linear layer with Glorot-uniform weights and zero biases."""
    layer = nn.utils.skip_init(Linear, n_in, n_out)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


def relu_mlp(sizes: list[int], generator: torch.Generator | None) -> nn.Sequential:
    """Return linear layers of these sizes with ReLU between them (none after the last)."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [linear(n_in, n_out, generator), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class PositiveTriangle(nn.Module):
    """Cholesky factors (n, p, p) of their entries (n, p (p + 1) / 2), row by row.

    The same as :func:`vmm.numerics.gaussians.positive_cholesky` of a square with these entries:
    softplus(·) + 1e-5 on the diagonal.

    Parameters
    ----------
    size : int
        p.
    """

    entry: Tensor
    place: Tensor
    on_diagonal: Tensor

    def __init__(self, size: int):
        super().__init__()
        rows, columns = torch.tril_indices(size, size)
        entry = torch.zeros(size, size, dtype=torch.long)
        entry[rows, columns] = torch.arange(len(rows))
        for name, value in {
            "entry": entry,
            "place": rows * size + columns,
            "on_diagonal": rows == columns,
        }.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, entries: Tensor) -> Tensor:
        """Return lower-triangular matrices with a positive diagonal."""
        return _Triangle.apply(entries, self.entry, self.place, self.on_diagonal)


class _Triangle(torch.autograd.Function):
    """By hand, since each entry has one place: the derivative of indexing sorts and adds."""

    @staticmethod
    def forward(entries, entry, place, on_diagonal):
        positive = F.softplus(entries) + MIN_SCALE
        return torch.where(on_diagonal, positive, entries)[..., entry].tril()

    @staticmethod
    def setup_context(ctx, inputs, output):
        entries, _, place, on_diagonal = inputs
        ctx.save_for_backward(entries, place, on_diagonal)

    @staticmethod
    def backward(ctx, grad):
        entries, place, on_diagonal = ctx.saved_tensors
        plain = grad.flatten(-2)[..., place]
        by_softplus = torch.ops.aten.softplus_backward(plain, entries, 1, 20)
        return torch.where(on_diagonal, by_softplus, plain), None, None, None

    @staticmethod
    def vmap(info, in_dims, entries, *places):
        return _Triangle.apply(entries.movedim(in_dims[0], 0), *places), 0


class HiddenLayer(nn.Module):
    """Linear, batch normalisation, ReLU, dropout: scVI's layer.

    Parameters
    ----------
    n_in, n_out : int
    dropout : float
        Probability of a dropout.
    generator : torch.Generator, optional
    """

    def __init__(
        self, n_in: int, n_out: int, dropout: float, generator: torch.Generator | None = None
    ):
        super().__init__()
        self.linear = linear(n_in, n_out, generator)
        self.norm = nn.BatchNorm1d(n_out, eps=1e-3, momentum=MOMENTUM)
        self.dropout = dropout

    def forward(self, x: Tensor, training: bool, keep: Tensor | None = None) -> Tensor:
        """Return the layer's output, shape (n, n_out).

        Parameters
        ----------
        x : torch.Tensor, shape (n, n_in)
        training : bool
            Use, and update with, this batch's statistics.
        keep : torch.Tensor, shape (n, n_out), optional
            Uniform numbers in [0, 1): a unit is kept where they reach the dropout probability.
        """
        norm = self.norm
        hidden = F.batch_norm(
            self.linear(x),
            norm.running_mean,
            norm.running_var,
            norm.weight,
            norm.bias,
            training,
            MOMENTUM,
            norm.eps,
        ).relu()
        if training and keep is not None and self.dropout > 0:
            hidden = hidden * (keep >= self.dropout) / (1 - self.dropout)
        return hidden
