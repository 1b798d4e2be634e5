"""Functions with derivatives in closed form, of one trial or of stacked ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class ClosedForm(torch.autograd.Function):
    """An autograd function that also takes T inputs at once, stacked in a new first dimension.

    A subclass has two static methods. ``forward(*inputs)`` returns a tuple: the value, and what the
    derivatives need. ``gradients(ctx, grad, *saved)`` turns the gradient by the value into those by
    the inputs; saved are the inputs that are tensors, if `keeps_inputs`, and what `forward`
    returned beside the value. Under `torch.func.vmap`, `forward` is called once, with all T.
    """

    keeps_inputs = False

    @classmethod
    def value(cls, *inputs: Any) -> Tensor:
        """Return the value alone."""
        return cls.apply(*inputs)[0]

    @classmethod
    def setup_context(cls, ctx, inputs: tuple, output: tuple) -> None:
        """Keep what the derivatives need; only the value has any."""
        kept = [value for value in inputs if isinstance(value, Tensor)] if cls.keeps_inputs else []
        ctx.set_materialize_grads(False)  # or zeros would be made for each output
        ctx.mark_non_differentiable(*(value for value in output[1:] if value is not None))
        ctx.save_for_backward(*kept, *output[1:])

    @classmethod
    def backward(cls, ctx, grad: Tensor | None, *_) -> tuple:
        """Return the gradient by each input."""
        if grad is None:
            return (None,) * len(ctx.needs_input_grad)
        return cls.gradients(ctx, grad, *ctx.saved_tensors)

    @classmethod
    def vmap(cls, info, in_dims: tuple, *inputs: Any) -> tuple:
        """Map by one call, with the mapped dimension in front."""
        return map_at_once(cls, info, in_dims, inputs)


def map_at_once(function, info, in_dims: tuple, inputs: tuple):
    """Apply an autograd function that takes a dimension in front, under `torch.func.vmap`.

    Parameters
    ----------
    function : type
        Subclass of `torch.autograd.Function`.
    info, in_dims, inputs
        As `vmap` hands them to the function's own static method of that name.
    """

    def mapped_first(value, dim):
        if not isinstance(value, Tensor):
            return value
        if dim is None:
            return value.expand(info.batch_size, *value.shape)
        return value.movedim(dim, 0) if dim else value

    output = function.apply(*map(mapped_first, inputs, in_dims))
    if isinstance(output, Tensor):
        return output, 0
    return output, tuple(None if value is None else 0 for value in output)
