"""One record a method: every prior in the model of each kind of data, and what they compete with.

A new prior (:mod:`vmm.priors.records`) is a method by itself. An embedding without a model is a
function and a record here. Schema, messages, order and labels in tables, colours and documentation
follow from the records; importing them imports nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmm.lazy import by_name
from vmm.models.records import MODELS
from vmm.priors.records import PriorRecord, priors_of

OURS = "vmm.benchmark.ours:train_ours"
"""What trains our models."""


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
    most_cells : int, optional
        Of more it is not tried: it would not end, or not within a usual memory.
    control : bool
        Whether it is no competitor, but bounds what scores can be expected.
    prior_record : PriorRecord, optional
        Of one of our models.
    modules : tuple of str
        What its results depend on beside the function's module.
    options : tuple of str
        Keys of ``inference`` in the configuration that are of this method alone. Those of a prior
        or of the networks are in their own records.
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
    most_cells: int | None = None
    control: bool = False
    prior_record: PriorRecord | None = None
    modules: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it is one of our models."""
        return self.prior_record is not None

    def takes(self, n_cells: int) -> bool:
        """Return whether it is tried with so many cells."""
        return self.most_cells is None or n_cells <= self.most_cells

    @property
    def depends_on(self) -> tuple[str, ...]:
        """Modules that its results depend on."""
        return (self.made_by.partition(":")[0], *self.modules)


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
    name: str,
    label: str,
    colour: str,
    about: str,
    needs_batches: bool,
    most_cells: int | None = None,
) -> Method:
    """Return an embedding of cells without a model, in a file of its own name."""
    return Method(
        name=name,
        kind="cells",
        model=label,
        prior="none",
        label=label,
        colour=colour,
        about=about,
        made_by=f"vmm.benchmark.baselines.{name}:{name}",
        trains=False,
        needs_batches=needs_batches,
        most_cells=most_cells,
    )


SCVI_TOOLS = Method(
    name="scvi_tools",
    kind="cells",
    model="scvi-tools",
    prior="StandardNormal",
    label="scvi-tools N(0, I)",
    colour="#9a9a9a",
    about="scvi-tools' own scVI (Lopez et al. 2018) with the same sizes, rate and split.",
    made_by="vmm.benchmark.baselines.scvi_tools:train_scvi_tools",
    options=("deeply_inject_covariates",),
)
EMBEDDINGS = (
    _embedding(
        "pca",
        "PCA",
        "#8a8f98",
        "Principal components of scaled log-normalised counts; corrects for nothing.",
        needs_batches=False,
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
)


def _control(name: str, label: str, colour: str, about: str) -> Method:
    """Return a control; tables do not show it."""
    return Method(
        name=name,
        kind="cells",
        model=f"Control: {label}",
        prior="none",
        label=f"Control: {label}",
        colour=colour,
        about=about,
        made_by=f"vmm.benchmark.baselines.controls:{name}",
        trains=False,
        control=True,
    )


CONTROLS = (
    _control(
        "perfect",
        "cell types",
        "#14803c",
        "A control: one dimension a cell type, and nothing else but a little noise.",
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
    "images": by_name([_of_prior(record, "images") for record in priors_of("images").values()]),
    "cells": by_name(
        [
            SCVI_TOOLS,
            *(_of_prior(record, "cells") for record in priors_of("cells").values()),
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
    for methods in METHODS.values():
        for method in methods.values():
            if (method.model, method.prior) == (model, prior):
                return method
    raise KeyError(f"no method has the model {model!r} with the prior {prior!r}")


def names(kind: str, **wanted: Any) -> list[str]:
    """Return the short names of methods with these attributes, such as ``trains=True``."""
    return [
        name
        for name, method in METHODS[kind].items()
        if all(getattr(method, key) == value for key, value in wanted.items())
    ]
