"""One record a prior: what everything but training itself must know of it.

A new prior is a file of this folder and a record here. Configurations, ``vmm.SCVI(prior=)``, the
command line, tables, colours and documentation follow from the record; importing it imports
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from vmm.lazy import by_name


@dataclass(frozen=True)
class PriorRecord:
    """A prior by its short name.

    Attributes
    ----------
    name : str
        In configurations, folders and ``vmm.SCVI(prior=)``.
    cls : str
        ``"module:class"``, a subclass of :class:`vmm.priors.base.Prior`.
    label : str
        In tables and figures.
    colour : str
        In figures, ``#rrggbb``.
    about : str
        One sentence for the documentation, with its reference.
    clusters : bool
        Whether it has components that points are assigned to.
    has_pseudo_inputs : bool
        Whether it is made of encoded pseudo-inputs, which can be decoded and looked at.
    starts_from_data : bool
        Whether it needs as many training images or cells as it has components.
    empirical_bayes : bool
        Whether it is fitted by Empirical Bayes steps, whose rate is `prior_learning_ratio`.
    n_components_key : str
        Key of the configuration that gives the number of its components.
    options : tuple of str
        Keys of ``inference`` in the configuration that its class takes as arguments.
    cell_options : tuple of str
        Further ones, which are about cells; with images the class has its default.
    kinds : tuple of str
        Data that it is trained on: "images", "cells".
    model, prior : str
        What rows of metrics call its models, where not the networks' and the class' names.
    """

    name: str
    cls: str
    label: str
    colour: str
    about: str
    clusters: bool = True
    has_pseudo_inputs: bool = False
    starts_from_data: bool = False
    empirical_bayes: bool = False
    n_components_key: str = "n_components"
    options: tuple[str, ...] = ()
    cell_options: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ("images", "cells")
    model: str = ""
    prior: str = ""

    @property
    def module(self) -> str:
        """The module of its class."""
        return self.cls.partition(":")[0]

    @property
    def class_name(self) -> str:
        """The name of its class."""
        return self.cls.partition(":")[2]

    def options_for(self, kind: str) -> tuple[str, ...]:
        """Return the keys of ``inference`` that concern it on "images" or on "cells"."""
        return self.options + (self.cell_options if kind == "cells" else ())


_MIXTURE_OPTIONS = (
    "responsibility_gradient",
    "concentration_prior",
    "wishart_scale",
    "dirichlet_process",
)

_RECORDS = (
    PriorRecord(
        name="normal",
        cls="vmm.priors.standard:StandardNormal",
        label="N(0, I)",
        colour="#4d4d4d",
        about="The standard normal of the original VAE (Kingma and Welling 2014); no clusters.",
        clusters=False,
    ),
    PriorRecord(
        name="vampprior",
        cls="vmm.priors.vampprior:VampPrior",
        label="VampPrior",
        colour="#cb7e19",
        about="1/K Σ_j q(z; g(u_j)), pseudo-inputs u fitted with the VAE (Tomczak and Welling "
        "2018).",
        has_pseudo_inputs=True,
        starts_from_data=True,
        cell_options=("train_pseudo_inputs",),
    ),
    PriorRecord(
        name="vade",
        cls="vmm.priors.vade:VaDEMixture",
        label="VaDE",
        colour="#659e9c",
        about="A Gaussian mixture that is told the number of clusters, started from a pre-trained "
        "VAE and fitted with it (Jiang et al. 2017).",
        starts_from_data=True,
        n_components_key="vade_clusters",
        kinds=("images",),
        model="VaDE",
        prior="GaussianMixture",
    ),
    PriorRecord(
        name="gmm",
        cls="vmm.priors.mixture:GaussianMixture",
        label="GMM",
        colour="#2372ae",
        about="An approximate Dirichlet-process mixture of Gaussians, Σ_j π_j N(z; μ_j, Λ_j⁻¹), "
        "fitted by Empirical Bayes (Stirn and Knowles 2024).",
        empirical_bayes=True,
        options=_MIXTURE_OPTIONS,
    ),
    PriorRecord(
        name="vmm",
        cls="vmm.priors.mixture:VampPriorMixture",
        label="VMM",
        colour="#b63074",
        about="The VampPrior mixture, Σ_j π_j N(z; m_j, Λ_j⁻¹ + S_j) with N(m_j, S_j) = g(u_j), "
        "fitted by Empirical Bayes (Stirn and Knowles 2024).",
        has_pseudo_inputs=True,
        starts_from_data=True,
        empirical_bayes=True,
        options=_MIXTURE_OPTIONS,
    ),
)

PRIORS: dict[str, PriorRecord] = by_name(_RECORDS)
"""All priors by their short names, in the order in which tables list them."""


def priors_of(kind: str) -> dict[str, PriorRecord]:
    """Return the priors that are trained on "images" or on "cells"."""
    return {name: record for name, record in PRIORS.items() if kind in record.kinds}


def clustering_priors(kind: str) -> list[str]:
    """Return the short names of those with clusters, the last of the list first."""
    return [record.name for record in reversed(priors_of(kind).values()) if record.clusters]
