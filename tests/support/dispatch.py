"""What a GPU would be asked to do, seen on the CPU: the operators that are dispatched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from vmm.numerics.products import without_onednn

aten = torch.ops.aten
WAITING_TAGS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
CHECKS = {aten._linalg_check_errors.default}
BATCH_NORM = aten.native_batch_norm.default


def waits(func, args) -> bool:
    """Whether the host needs the values of a tensor to go on after this operator."""
    if func is aten.index.Tensor:  # of a dynamic shape only where the index is a mask
        return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])
    return bool(WAITING_TAGS & set(func.tags)) or func in CHECKS


@dataclass
class Observed:
    """Names of operators: all, those after which the host waits, and copies to or from the host."""

    all: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)
    copying: list[str] = field(default_factory=list)


class Operators(TorchDispatchMode):
    """Observes what reaches the device."""

    def __init__(self, seen: Observed):
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.seen.all.append(func.name())
        if waits(func, args):
            self.seen.waiting.append(func.name())
        if func is aten.lift_fresh.default:  # a tensor of numbers of the host
            self.seen.copying.append(func.name())
        return func(*args, **(kwargs or {}))


class Methods(TorchFunctionMode):
    """Observes copies to the host, which are none on the CPU and so reach no device."""

    def __init__(self, seen: Observed):
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        device = kwargs.get("device", args[1] if len(args) > 1 else None)
        to_device = func is Tensor.to and isinstance(device, (str, torch.device))
        if to_device or func in (Tensor.cpu, Tensor.cuda, Tensor.tolist):
            self.seen.copying.append(func.__name__)
        return func(*args, **kwargs)


@contextmanager
def observed() -> Iterator[Observed]:
    """Observe what runs inside, with the products that a GPU would be asked for."""
    seen = Observed()
    with without_onednn(), Operators(seen), Methods(seen):
        yield seen


class Tape(TorchDispatchMode):
    """Records a step as a CUDA graph does, on the CPU.

    Replaying calls the same operators on the same memory, in the same order, with no Python of the
    step in between: what a graph would freeze (a value that went through the host, a number drawn
    within, a tensor made anew at every step) makes the replay differ from the step. As with a
    graph, recording changes nothing.
    """

    def __init__(self):
        super().__init__()
        self.operators: list[tuple] = []
        self.made: set[int] = set()
        self.before: dict[int, tuple[Tensor, Tensor]] = {}
        self.replays = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        assert not waits(func, args), f"{func.name()} cannot be recorded"
        assert torch.Tag.nondeterministic_seeded not in func.tags, f"{func.name()} draws numbers"
        for tensor in self._written(func, args, kwargs):
            self._keep(tensor)
        taken = tree_map(_alias, (args, kwargs))
        result = func(*args, **kwargs)
        read = {_memory(t) for t in _tensors(taken)}
        self.made |= {_memory(t) for t in _tensors(result)} - read
        if not (func.is_view or torch.Tag.inplace_view in func.tags):  # of memory that stays
            self.operators.append((func, *taken, tree_map(_alias, result)))
        return result

    @staticmethod
    def _written(func, args, kwargs) -> list[Tensor]:
        if func is BATCH_NORM:  # its schema does not say that it updates the statistics
            return [t for t in args[3:5] if args[5]]
        found = []
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                given = args[position] if position < len(args) else kwargs.get(argument.name)
                found += _tensors(given)
        return found

    def _keep(self, tensor: Tensor) -> None:
        place = _memory(tensor)
        if place not in self.made and place not in self.before:
            whole = tensor.detach().as_strided(
                (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0
            )
            self.before[place] = whole, whole.clone()

    def warm_up(self, step: Callable[[], Tensor]) -> Tensor:
        return step()

    def record(self, step: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        with self:
            result = step()
        for tensor, value in self.before.values():
            tensor.copy_(value)
        return self.replay, result

    @torch.no_grad()
    def replay(self) -> None:
        self.replays += 1
        for func, args, kwargs, recorded in self.operators:
            again = func(*args, **kwargs)
            for old, new in zip(_tensors(recorded), _tensors(again), strict=True):
                if _memory(old) != _memory(new):
                    old.copy_(new)


def _tensors(tree) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _alias(leaf):
    """Return a tensor of the same memory that keeps its shape when the other's is changed."""
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
