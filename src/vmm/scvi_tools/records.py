"""One record a model of scvi-tools: what must be known of it to give it another prior.

A new model of the library gets one by a record, here or handed to
:func:`vmm.scvi_tools.with_prior`. Importing this imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from vmm.lazy import by_name


class Markers(NamedTuple):
    """How the library compares features of groups of cells.

    Attributes
    ----------
    method : str
        Of the model.
    probability, effect, share : str
        Columns of its table: how sure the difference is, its size, and the part of the cells in
        which the feature was found, "" where it is in all.
    sign : int
        Of an effect that is more in the cells than in the others.
    """

    method: str = "differential_expression"
    probability: str = "proba_de"
    effect: str = "lfc_mean"
    share: str = "non_zeros_proportion1"
    sign: int = 1


GENES = Markers()


@dataclass(frozen=True)
class ModelRecord:
    """A model of scvi-tools.

    Attributes
    ----------
    name : str
        Its class' name; here :func:`vmm.scvi_tools.with_prior` of it is found by the same.
    cls : str
        ``"module:class"``.
    about : str
        One sentence for the documentation.
    kl : str
        Where its module's loss returns KL(q(z) ‖ N(0, I)) of each cell: a key of ``kl_local``.
    encoder : str or tuple of str
        Attribute of the module with the network whose first output is q(z): an ``FCLayers`` by the
        name of ``encoder`` in it, whose inputs pseudo-inputs stand for. Several, of the same
        categorical covariates, where `posterior` puts q(z) together.
    posterior : str
        ``"module:function"`` for q(z) from what the encoders take, besides categories, and return.
    mean_of_cells : bool
        Whether its loss is put together anew, as the mean over cells of reconstruction + weight ×
        KL, because the library weighs the two by the size of the batch.
    others : str
        ``"module:function"`` for log p − log q of the latent variables besides z.
    draw : str
        ``"module:function"`` that draws what the cells of a minibatch may look like, where the
        module has no ``sample``.
    forced : tuple of pairs
        Arguments of the model that have to have this value.
    markers : Markers
    prior_learning_ratio : float
        Default of ``train``: the greater the library's own rate, the less.
    learning_rate : float
        The library's own, which the benchmark trains with unless it is told another.
    arguments : tuple of pairs
        Keys of a data set's configuration for the benchmark, and what the model calls them. The
        benchmark has models with any.
    data : tuple of str
        Keys of a data set about what else is known of cells that the model takes.
    refused : tuple of pairs
        Values that a key of `arguments` must not have.
    intensities : bool
        Whether it takes any numbers in the place of counts.
    measured : str
        What they are numbers of, beside those of `data`.
    """

    name: str
    cls: str
    about: str
    kl: str
    encoder: str | tuple[str, ...] = "z_encoder"
    posterior: str = "vmm.scvi_tools.latents:first_output"
    mean_of_cells: bool = False
    others: str = "vmm.scvi_tools.latents:no_others"
    draw: str = "vmm.scvi_tools.latents:sample"
    forced: tuple[tuple[str, Any], ...] = ()
    markers: Markers = GENES
    prior_learning_ratio: float = 5.0
    learning_rate: float = 1e-3
    arguments: tuple[tuple[str, str], ...] = ()
    data: tuple[str, ...] = ()
    refused: tuple[tuple[str, Any], ...] = ()
    intensities: bool = False
    measured: str = "genes"

    @property
    def encoders(self) -> tuple[str, ...]:
        """Names of all encoders."""
        return (self.encoder,) if isinstance(self.encoder, str) else self.encoder


_COVARIATES = ("categorical_covariate_keys", "continuous_covariate_keys")
_SIZES = (("n_latent", "n_latent"), ("n_hidden", "n_hidden"))
_LIBRARY_SIZE = "vmm.scvi_tools.latents:library_size"

_RECORDS = (
    ModelRecord(
        name="SCVI",
        cls="scvi.model:SCVI",
        about="Counts of genes. `vmm.SCVI` is faster and tested against the paper; this one has "
        "all that the library's own has.",
        kl="kl_divergence_z",
        others=_LIBRARY_SIZE,
    ),
    ModelRecord(
        name="LinearSCVI",
        cls="scvi.model:LinearSCVI",
        about="Counts of genes, with a linear decoder whose loadings can be read.",
        kl="kl_divergence_z",
        others=_LIBRARY_SIZE,
        arguments=(
            *_SIZES,
            ("n_layers", "n_layers"),
            ("likelihood", "gene_likelihood"),
            ("dispersion", "dispersion"),
        ),
    ),
    ModelRecord(
        name="POISSONVI",
        cls="scvi.external:POISSONVI",
        about="Counts of fragments in peaks (ATAC).",
        measured="peaks",
        kl="kl_divergence_z",
        others=_LIBRARY_SIZE,
        markers=Markers("differential_accessibility", share="emp_prob1"),
        learning_rate=1e-4,
        arguments=(*_SIZES, ("n_layers", "n_layers")),
        data=(*_COVARIATES, "size_factor_key"),
    ),
    ModelRecord(
        name="TOTALVI",
        cls="scvi.model:TOTALVI",
        about="Counts of genes and of proteins (CITE-seq).",
        kl="kl_div_z",
        encoder="encoder",
        others="vmm.scvi_tools.latents:library_size_and_background",
        prior_learning_ratio=1.0,
        learning_rate=4e-3,
        arguments=(
            *_SIZES,
            ("n_layers", "n_layers_encoder"),
            ("likelihood", "gene_likelihood"),
            ("dispersion", "gene_dispersion"),
        ),
        data=("proteins", *_COVARIATES, "size_factor_key"),
        refused=(("likelihood", "poisson"),),
    ),
    ModelRecord(
        name="PEAKVI",
        cls="scvi.model:PEAKVI",
        about="Whether peaks are open (ATAC).",
        measured="peaks",
        kl="kl_local",
        mean_of_cells=True,
        draw="vmm.scvi_tools.latents:accessible",
        markers=Markers("differential_accessibility", "prob_da", "effect_size", "emp_prob1", -1),
        learning_rate=1e-4,
        arguments=(*_SIZES, ("n_layers", "n_layers_encoder")),
        data=_COVARIATES,
    ),
    ModelRecord(
        name="CYTOVI",
        cls="scvi.external:CYTOVI",
        about="Intensities of proteins (cytometry).",
        kl="kl_divergence_z",
        forced=(("prior_mixture", False),),
        markers=Markers(share=""),
        arguments=(*_SIZES, ("n_layers", "n_layers")),
        data=_COVARIATES,
        intensities=True,
        measured="proteins",
    ),
    ModelRecord(
        name="MULTIVI",
        cls="scvi.model:MULTIVI",
        about="Counts of genes and whether peaks are open (multiome), and of proteins; a cell may "
        "lack some.",
        kl="kl_divergence_z",
        encoder=("z_encoder_expression", "z_encoder_accessibility", "z_encoder_protein"),
        posterior="vmm.scvi_tools.latents:of_modalities",
        draw="vmm.scvi_tools.latents:modalities",
        learning_rate=1e-4,
        arguments=(*_SIZES, ("n_layers", "n_layers_encoder"), ("likelihood", "gene_likelihood")),
        data=("peaks", *_COVARIATES),
    ),
)

MODELS: dict[str, ModelRecord] = by_name(_RECORDS)
"""All models by the names of their classes."""

LEFT_OUT = {
    "SCANVI": "it has two levels of z, and is a mixture already, over labels",
    "TOTALANVI": "it has two levels of z, and is a mixture already, over labels",
    "METHYLANVI": "it has two levels of z, and is a mixture already, over labels",
    "SysVI": "it has priors of its own",
}
"""Models that take no prior, and why."""


def benchmarked() -> list[str]:
    """Return the names of the models that data sets of the benchmark can have."""
    return [name for name, record in MODELS.items() if record.arguments]
