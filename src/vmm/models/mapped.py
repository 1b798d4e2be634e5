"""Layers under `torch.func.vmap`, mapped by few operators each: its own rules take many.

The functions here have T sets of parameters, and of inputs, in a first dimension. `vmap` calls
them with all T at once.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from vmm.models.networks import HiddenLayer, Linear
from vmm.numerics.products import stackable_affine


def with_mapped_layers(model: nn.Module) -> nn.Module:
    """Return a copy of a model for `torch.func.vmap` over parameters and inputs."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, Linear):
            module.affine = stackable_affine
        if isinstance(module, HiddenLayer):
            module.batch_norm = _batch_norm
    return model


def _batch_norm(
    x: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor,
    bias: Tensor,
    training: bool,
    momentum: float,
    eps: float,
) -> Tensor:
    """As `F.batch_norm`."""
    if training:
        return _BatchNorm.apply(x, running_mean, running_var, weight, bias, momentum, eps)[0]
    scale = weight * (running_var + eps).rsqrt()
    return torch.addcmul(bias - running_mean * scale, x, scale)


class _BatchNorm(torch.autograd.Function):
    """Batch normalisation in training of x (T, n, H): of n points with T H features."""

    @staticmethod
    def forward(x, running_mean, running_var, weight, bias, momentum, eps):
        features = (value.view(-1) for value in (weight, bias, running_mean, running_var))
        output, mean, inverse_sd = torch.native_batch_norm(
            _side_by_side(x), *features, True, momentum, eps
        )
        return _apart(output, x), mean, inverse_sd

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, _, weight, _, _, ctx.eps = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, weight, *output[1:])

    @staticmethod
    def backward(ctx, grad, *_):
        x, weight, mean, inverse_sd = ctx.saved_tensors
        by_x, by_weight, by_bias = torch.ops.aten.native_batch_norm_backward(
            _side_by_side(grad), _side_by_side(x), weight.view(-1), None, None, mean, inverse_sd,
            True, ctx.eps, [True] * 3
        )  # fmt: skip
        by_weight, by_bias = by_weight.view_as(weight), by_bias.view_as(weight)
        return _apart(by_x, x), None, None, by_weight, by_bias, None, None

    @staticmethod
    def vmap(info, in_dims, *inputs):
        assert in_dims == (0,) * 5 + (None,) * 2
        return _BatchNorm.apply(*inputs), (0, None, None)


def _side_by_side(x: Tensor) -> Tensor:
    """Map (T, n, H) to (n, T H)."""
    return x.transpose(0, 1).flatten(1)


def _apart(flat: Tensor, x: Tensor) -> Tensor:
    """Map (n, T H) to the shape (T, n, H) of `x`."""
    return flat.view(x.shape[1], x.shape[0], -1).transpose(0, 1)
