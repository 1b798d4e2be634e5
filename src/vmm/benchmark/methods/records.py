"""One record a method: every prior in the model of each kind of data, and what they compete with.

A new prior (:mod:`vmm.priors.records`) is a method by itself. An embedding without a model is a
function and a record here. Schema, messages, order and labels in tables, colours and documentation
follow from the records; importing them imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from vmm.lazy import by_name
from vmm.models.records import MODELS
from vmm.priors.records import PriorRecord, priors_of
from vmm.scvi_tools.records import benchmarked
from vmm.versions import unmet

OURS = "vmm.benchmark.ours:train_ours"
"""What trains our models."""
LIBRARY = "vmm.benchmark.baselines.scvi_tools:train_scvi_tools"
"""What trains models of scvi-tools, with N(0, I) or with one of our priors."""


@dataclass(frozen=True)
class Method:
    """A method by its short name.

    Attributes
    ----------
    name : str
        In configurations and folders.
    kind : {"images", "cells"}
    model, prior : str
        What rows of metrics call it.
    label, colour : str
        In tables and figures.
    about : str
        One sentence for the documentation, with its reference.
    made_by : str
        ``"module:function"``. Of a method that trains, a function as
        :func:`vmm.benchmark.ours.train_ours`; else one that embeds, as
        :func:`vmm.benchmark.baselines.pca.pca`.
    trains : bool
        Whether it is trained on a split, or embeds all cells at once.
    clusters : bool
        Whether it gives cluster probabilities.
    needs_batches : bool
        Whether it makes no sense for data of one batch.
    needs_labels : bool
        Whether it makes no sense for data of which no cell has a label.
    most_cells : int, optional
        Of more it is not tried: it would not end, or not within a usual memory.
    control : bool
        Whether it is no competitor, but bounds what scores can be expected.
    graph : bool
        Whether it embeds nothing, and gives a graph of neighbours: few metrics are of graphs.
    told_labels : bool
        Whether it is trained with the labels that it is scored against: it is compared with no
        other, and its label says so.
    needs : tuple of str
        A package, and the least version that has it.
    environment : str
        Where the lock lacks that package: the file of ``envs/`` that has it too, in which jobs run
        under ``--use-conda``.
    elbo : bool
        Whether it is trained by an ELBO, which its history then has.
    prior_record : PriorRecord, optional
        Of one of our models.
    modules : tuple of str
        What its results depend on beside the function's module.
    options : tuple of str
        Keys of ``inference`` in the configuration that are of this method alone. Those of a prior
        or of the networks are in their own records.
    n_clusters_key : str
        Key of its data set that gives the number of clusters, where none of our models is told it.
    """

    name: str
    kind: str
    model: str
    prior: str
    label: str
    colour: str
    about: str
    made_by: str = OURS
    trains: bool = True
    clusters: bool = False
    needs_batches: bool = False
    needs_labels: bool = False
    most_cells: int | None = None
    control: bool = False
    graph: bool = False
    told_labels: bool = False
    needs: tuple[str, ...] = ()
    environment: str = ""
    elbo: bool = True
    prior_record: PriorRecord | None = None
    modules: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    n_clusters_key: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether it is one of our models."""
        return self.prior_record is not None

    def takes(self, n_cells: int) -> bool:
        """Return whether it is tried with so many cells."""
        return self.most_cells is None or n_cells <= self.most_cells

    @property
    def unmet(self) -> str | None:
        """What it needs and what there is instead, the end of a sentence; None if that is here."""
        found = unmet(*self.needs) if self.needs else None
        if found is None:
            return None
        package, least = self.needs
        remedy = f": `pip install --no-deps {package}=={least}`, or run with --use-conda"
        return f"needs {package} {least} or newer; {found}{remedy if self.environment else ''}"

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Modules that its results depend on."""
        return (self.made_by.partition(":")[0], *self.modules)

    @property
    def fits_library(self) -> bool:
        """Whether it can be had in the models of scvi-tools, or does not train at all."""
        return not self.trains or self.made_by in (OURS, LIBRARY)

    def of_library(self, model: str) -> Method:
        """Return the same method in a model of scvi-tools; "": in ours.

        What embeds without training, and the library's own with N(0, I), are called the same in all
        models.
        """
        if not model or self.prior_record is None or self.kind != "cells":
            return self
        modules = (*LIBRARY_MODULES, self.prior_record.module)
        return replace(self, model=model, made_by=LIBRARY, modules=modules)


LIBRARY_MODULES = ("vmm.scvi_tools.model", "vmm.scvi_tools.latents")
"""What a model of scvi-tools with one of our priors depends on."""


def _of_prior(record: PriorRecord, kind: str) -> Method:
    model = MODELS[kind]
    return Method(
        name=record.name,
        kind=kind,
        model=record.model or model.name,
        prior=record.prior or record.class_name,
        label=record.label,
        colour=record.colour,
        about=record.about,
        clusters=record.clusters,
        prior_record=record,
        modules=(model.module, record.module),
    )


def _embedding(
    name: str, label: str, colour: str, about: str, made_by: str = "", **more: Any
) -> Method:
    """Return an embedding of cells without a model, by default in a file of its own name."""
    return Method(
        name=name,
        kind="cells",
        model=label,
        prior="none",
        label=label,
        colour=colour,
        about=about,
        made_by=made_by or f"vmm.benchmark.baselines.{name}:{name}",
        trains=False,
        **more,
    )


SCVI_TOOLS = Method(
    name="scvi_tools",
    kind="cells",
    model="scvi-tools",
    prior="StandardNormal",
    label="scvi-tools N(0, I)",
    colour="#9a9a9a",
    about="scvi-tools' own scVI (Lopez et al. 2018), or the data set's `model`, with the same "
    "sizes, rate and split.",
    made_by=LIBRARY,
    options=("deeply_inject_covariates",),
)


def _rival(name: str, model: str, colour: str, about: str, label: str = "", **more: Any) -> Method:
    """Return a newer model of scvi-tools."""
    return Method(
        name=name,
        kind="cells",
        model=model,
        prior="own",
        label=label or model,
        colour=colour,
        about=about,
        made_by=f"vmm.benchmark.baselines.rivals:train_{name}",
        **more,
    )


RIVALS = (
    _rival(
        "sysvi",
        "SysVI",
        "#00838f",
        "SysVI of scvi-tools: a VampPrior of few components, and a cycle through another batch, on "
        "log-normalised counts (Hrovatin et al. 2023).",
    ),
    _rival(
        "drvi",
        "DRVI",
        "#7a4b2a",
        "DRVI of scvi-tools, from its version 1.5 on: each latent dimension is decoded by itself "
        "(Moinfar and Theis 2024).",
        needs=("scvi-tools", "1.5"),
    ),
    _rival(
        "mrvi",
        "MrVI",
        "#a0527a",
        "MrVI of scvi-tools, its samples the batches: the embedding u has a mixture prior, and "
        "attention adds to it what a batch changes (Boyeau et al. 2025).",
    ),
    _rival(
        "scanvi",
        "scANVI",
        "#5d4aa8",
        "scANVI of scvi-tools: scVI that is then trained with the labels of the training cells, "
        "against which it is scored (Xu et al. 2021).",
        label="scANVI (told the labels)",
        told_labels=True,
        options=("deeply_inject_covariates",),
    ),
)
"""Models of others that no experiment has unless it is told so."""


def _deep_clustering(name: str, label: str, colour: str, about: str, told: str = "") -> Method:
    """Return an algorithm of ClustPy for images."""
    return Method(
        name=name,
        kind="images",
        model=label,
        prior="none",
        label=label,
        colour=colour,
        about=about,
        made_by=f"vmm.benchmark.baselines.deep_clustering:train_{name}",
        clusters=True,
        needs=("clustpy", "0.0.3"),
        environment="clustpy",
        elbo=False,
        n_clusters_key=told,
    )


DEEP_CLUSTERING = (
    _deep_clustering(
        "dec",
        "DEC",
        "#6f9a3e",
        "Deep embedded clustering, of ClustPy: an autoencoder, k-means, and then both refined "
        "without reconstruction; told the number of clusters (Xie et al. 2016).",
        told="vade_clusters",
    ),
    _deep_clustering(
        "idec",
        "IDEC",
        "#8a6d3b",
        "DEC that keeps reconstructing, of ClustPy; told the number of clusters (Guo et al. 2017).",
        told="vade_clusters",
    ),
    _deep_clustering(
        "dipdeck",
        "DipDECK",
        "#5d4aa8",
        "Deep clustering that merges from 35 clusters by Hartigan's dip test, of ClustPy, and so "
        "finds their number (Leiber et al. 2021).",
    ),
)
"""Of images, likewise."""
EMBEDDINGS = (
    _embedding(
        "pca",
        "PCA",
        "#8a8f98",
        "Principal components of scaled log-normalised counts; corrects for nothing.",
    ),
    _embedding(
        "harmony",
        "Harmony",
        "#6e751b",
        "Principal components corrected by Harmony (Korsunsky et al. 2019).",
        needs_batches=True,
    ),
    _embedding(
        "scanorama",
        "Scanorama",
        "#33447f",
        "Principal components corrected by Scanorama (Hie et al. 2019).",
        needs_batches=True,
        most_cells=50_000,
    ),
    _embedding(
        "bbknn",
        "BBKNN",
        "#1b7f5c",
        "A graph in which each cell has neighbours in every batch; no embedding, so that Leiden's "
        "clusters and graph connectivity alone are scored (Polański et al. 2020).",
        needs_batches=True,
        graph=True,
    ),
)


def _control(name: str, label: str, colour: str, about: str, **more: Any) -> Method:
    """Return a control; tables do not show it."""
    made_by = f"vmm.benchmark.baselines.controls:{name}"
    return _embedding(name, f"Control: {label}", colour, about, made_by, control=True, **more)


CONTROLS = (
    _control(
        "perfect",
        "cell types",
        "#14803c",
        "A control: one dimension a cell type, and nothing else but a little noise.",
        needs_labels=True,
    ),
    _control(
        "shuffled",
        "shuffled",
        "#b9770e",
        "A control: the principal components of other cells, drawn at random.",
    ),
    _control("random", "random", "#c62828", "A control: samples of N(0, I)."),
)
NO_INTEGRATION = "pca"
"""The method that stands for what is there without integration, a control too."""

METHODS: dict[str, dict[str, Method]] = {
    "images": by_name(
        [
            *(_of_prior(record, "images") for record in priors_of("images").values()),
            *DEEP_CLUSTERING,
        ]
    ),
    "cells": by_name(
        [
            SCVI_TOOLS,
            *(_of_prior(record, "cells") for record in priors_of("cells").values()),
            *RIVALS,
            *EMBEDDINGS,
            *CONTROLS,
        ]
    ),
}
"""``METHODS[kind][name]``, in the order in which tables list them."""


def method_of(model: str, prior: str) -> Method:
    """Return the method that rows of metrics call by this model and prior.

    Raises
    ------
    KeyError
        If there is none.
    """
    library = model if model in benchmarked() else ""
    for methods in METHODS.values():
        for method in methods.values():
            method = method.of_library(library)
            if (method.model, method.prior) == (model, prior):
                return method
    raise KeyError(f"no method has the model {model!r} with the prior {prior!r}")


def place_of(model: str, prior: str) -> int:
    """Return where tables list the method that rows call so, those that are unknown last."""
    listed = [(kind, name) for kind, methods in METHODS.items() for name in methods]
    try:
        method = method_of(model, prior)
    except KeyError:
        return len(listed)
    return listed.index((method.kind, method.name))


def names(kind: str, **wanted: Any) -> list[str]:
    """Return the short names of methods with these attributes, such as ``trains=True``."""
    return [
        name
        for name, method in METHODS[kind].items()
        if all(getattr(method, key) == value for key, value in wanted.items())
    ]
