"""Priors of the latent space, one idea a file, behind the interface of :class:`Prior`.

`records` has one record a prior, by which everything else knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vmm.lazy import exports, resolve
from vmm.priors.records import PRIORS

if TYPE_CHECKING:
    import torch

    from vmm.priors.base import Prior

__getattr__, __dir__, __all__ = exports(
    __name__,
    {"Prior": "vmm.priors.base:Prior", "MixturePrior": "vmm.priors.mixture:MixturePrior"}
    | {record.class_name: record.cls for record in PRIORS.values()},
    also=("PRIORS", "make_prior", "prior_class"),
)


def make_prior(
    name: str,
    latent_dim: int,
    n_components: int,
    pseudo_inputs: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    **options: Any,
) -> Prior:
    """Make the prior with this short name, a key of :data:`vmm.priors.records.PRIORS`.

    Parameters
    ----------
    name : str
    latent_dim, n_components : int
        Dimension p of the latent space and number K of components; priors without components
        ignore the latter.
    pseudo_inputs : torch.Tensor, shape (K, D), optional
        Needed by priors that are made of encoded pseudo-inputs.
    generator : torch.Generator, optional
        Source of initial values that are drawn at random.
    **options
        Of the prior's class; which it has, its record says.

    Raises
    ------
    ValueError
        If there is no such prior, or it lacks its pseudo-inputs.
    """
    cls = prior_class(name)
    if cls.has_pseudo_inputs and pseudo_inputs is None:
        raise ValueError(f"prior {name!r} is made of pseudo-inputs; give `pseudo_inputs`")
    return cls.initial(latent_dim, n_components, pseudo_inputs, generator, **options)


def prior_class(name: str) -> type[Prior]:
    """Return the class of the prior with this short name.

    Raises
    ------
    ValueError
        If there is no such prior.
    """
    if name not in PRIORS:
        raise ValueError(f"prior is {name!r}; it must be one of {', '.join(PRIORS)}")
    return resolve(PRIORS[name].cls)
