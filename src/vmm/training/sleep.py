"""Sleeping components: those of a mixture that no point uses are not computed.

Of K components a training soon uses few; the others go through encoder, density and E-step all the
same. A component that has less than a stated part of one point sleeps: it keeps its place (u or μ,
and Λ), while π and α are fitted for all K. Every few epochs all K are looked at, and a component
that is wanted again wakes. Between epochs, in validation and in whatever is saved, the model has
all K.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from vmm.models.base import LatentVariableModel, encode_once
from vmm.models.tensors import Tensors
from vmm.training.embedding import EVALUATION_ROWS
from vmm.training.steps import MOMENTS, adam

LOOK_EVERY = 5
"""Epochs from one look at all components to the next."""
WORTHWHILE = 0.8
"""Of those awake, no more than this part may stay awake for the others to be sent to sleep: each
change costs memory's moving, and a new recording of the step on a GPU."""


@torch.no_grad()
def wanted(
    model: LatentVariableModel, data: Tensors, rows: Tensor, below: float, seed: int
) -> tuple[int, ...]:
    """Return the components that have `below` of a point or more.

    What a component has is the sum over the points of `rows` of its responsibility q(c_i = j) at a
    sample of z, or of its part of the density there, whichever is more. By the second, the density
    of a point falls by Σ_j −log(1 − part) where the others are left out.
    """
    generator = torch.Generator(data.device).manual_seed(seed)
    encode = encode_once(model)
    points = []
    for some in rows.split(EVALUATION_ROWS):
        q = model.posterior(data.batch(some))
        noise = torch.randn(q.mean.shape, generator=generator, device=data.device)
        points.append(model.prior.points_of_components(q.rsample(noise), encode))
    most = torch.stack(points).sum(0).amax(0)
    # Not `>=`: what is not finite is for the validation to see.
    stays = ~(most < below) | (most == most.max())
    return tuple(place for place, stay in enumerate(stays.tolist()) if stay)


def awake_next(awake: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return who is awake from now on: the wanted, or as before where that gains little."""
    missed = not set(wanted) <= set(awake)
    return wanted if missed or len(wanted) <= WORTHWHILE * len(awake) else awake


class Awake:
    """What steps are taken on: the model and its optimizers without components that sleep.

    Networks and all else that is not of single components are the model's own tensors.

    Parameters
    ----------
    model : LatentVariableModel
    optimizers : list of torch.optim.Adam
        Of all its parameters, for the variational and for the Empirical Bayes step.
    components : tuple of int
        Those that are awake, in order; empty if all are.
    width : int, optional
        How many are computed at least: stacked models have equally many.

    Attributes
    ----------
    model, optimizers
        Those given, if nothing is left out.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        optimizers: list[torch.optim.Adam],
        components: tuple[int, ...] = (),
        width: int | None = None,
    ):
        self.components, self.width = components, width
        self.model, self.optimizers = model, optimizers
        self._pairs: list[tuple[Tensor, Tensor, Tensor]] = []
        if components:
            self._narrow(model, optimizers)

    def _narrow(self, model: LatentVariableModel, optimizers: list[torch.optim.Adam]) -> None:
        n, n_components = len(self.components), model.prior.n_components
        asleep = sorted(set(range(n_components)) - set(self.components))
        order = torch.tensor([*self.components, *asleep], device=model.prior.log_weights().device)
        own = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
        self.model = copy.deepcopy(model, own)
        padded = None if self.width is None else n
        self.model.prior = model.prior.narrowed(order, self.width or n, padded)
        self._whole, group = optimizers[1], optimizers[1].param_groups[0]
        fitted = [p for p in self.model.prior.empirical_bayes_parameters() if p.requires_grad]
        narrow = adam(fitted, group["lr"], group["eps"])
        self.optimizers = [optimizers[0], narrow]
        for whole, part in zip(group["params"], fitted, strict=True):
            moments = self._whole.state[whole]
            if part is whole:
                narrow.state[part] = moments
                continue
            # π is of all components, the others of the first of the order.
            used = order[: len(part)]
            narrow.state[part] = {"step": moments["step"].clone()} | {
                moment: moments[moment][used] for moment in MOMENTS
            }
            self._pairs.append((whole, part, used if part.dim() == 1 else order[:n]))

    @torch.no_grad()
    def write_back(self) -> None:
        """Let the model have the parameters that steps were taken on."""
        for whole, part, rows in self._pairs:
            whole[rows] = part[: len(rows)]

    @torch.no_grad()
    def write_moments_back(self) -> None:
        """Let the model's optimizers have the moments, so that they can go on from there."""
        for whole, part, rows in self._pairs:
            old, new = self._whole.state[whole], self.optimizers[1].state[part]
            old["step"] = new["step"].clone()
            for moment in MOMENTS:
                old[moment][rows] = new[moment][: len(rows)]
