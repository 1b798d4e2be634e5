"""Functions with a gradient by hand, of one trial or of stacked ones."""

from __future__ import annotations

from torch import Tensor


def map_at_once(function, info, in_dims: tuple, inputs: tuple):
    """Apply an autograd function that takes a dimension in front, under `torch.func.vmap`.

    Parameters
    ----------
    function : type
        Subclass of `torch.autograd.Function`. It is called once, with all that is mapped.
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
