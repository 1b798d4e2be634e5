"""What a training job needs to know, and nothing that its model does not use.

A specification goes to jobs as plain values (:meth:`Spec.plain`): Snakemake compares these to
decide what runs again, and ``run.json`` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from vmm.benchmark.job import Job
from vmm.benchmark.setting import Setting
from vmm.models.records import MODELS, Networks
from vmm.scvi_tools.records import MODELS as LIBRARY

if TYPE_CHECKING:
    from vmm.numerics.products import Precision

TUNED_KEYS = ("batch_size", "prior_learning_ratio")
"""Keys of a cell data set that tuning may give."""


@dataclass(frozen=True, kw_only=True)
class PriorSpec:
    """A prior of ours.

    Attributes
    ----------
    name : str
        A key of :data:`vmm.priors.records.PRIORS`.
    n_components : int, optional
        K, where it has components.
    options : dict
        Of its class.
    balanced_pseudo_inputs : bool, optional
        Whether its pseudo-inputs start from each class alike, where it has any.
    """

    name: str
    n_components: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    balanced_pseudo_inputs: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A model of the grid and how it is trained.

    Attributes
    ----------
    job : Job
    seed : int
    networks : ImageNetworks, CellNetworks or mapping
        Of a job in a model of scvi-tools, its arguments.
    learning_rate : float
        γ₁.
    batch_size : int, optional
        M; None if tuning is to give it.
    max_epochs, patience : int
    monitor : {"elbo", "unmerged_nmi"}
    ours : PriorSpec, optional
        The prior, if the model is one of ours.
    prior_learning_ratio : float, optional
        γ₂ / γ₁, where the prior is fitted by Empirical Bayes; None if tuning is to give it.
    precision : {"float32", "tf32", "bf16"}, optional
        Of the matrix products, if the model is one of ours.
    sleep_below : float, optional
        What part of a point a component has to have, if it may sleep.
    options : dict, optional
        Keys of ``inference`` that the method itself takes (:class:`Method`).
    """

    job: Job
    seed: int
    networks: Networks | Mapping[str, Any]
    learning_rate: float
    batch_size: int | None
    max_epochs: int
    patience: int
    monitor: Literal["elbo", "unmerged_nmi"]
    ours: PriorSpec | None = None
    prior_learning_ratio: float | None = None
    precision: Precision | None = None
    sleep_below: float | None = None
    options: Mapping[str, Any] | None = None

    @property
    def has_ratio(self) -> bool:
        """Whether a prior learning ratio means something to the model."""
        record = self.job.record.prior_record
        return record is not None and record.empirical_bayes

    def with_choice(self, choice: Mapping[str, Any]) -> Self:
        """Return the specification with what tuning chose, where that was left to it.

        Parameters
        ----------
        choice : mapping
            Content of ``tuning/<dataset>.json``.
        """
        given = {key: choice[key] for key in TUNED_KEYS if getattr(self, key) is None}
        if not self.has_ratio:
            given.pop("prior_learning_ratio", None)
        return replace(self, **given)

    def at_ratio(self, ratio: float) -> Self:
        """Return the specification of a step of tuning, with a setting of its own."""
        setting = Setting(batch_size=self.batch_size, ratio=ratio)
        return replace(self, job=replace(self.job, setting=setting), prior_learning_ratio=ratio)

    def plain(self) -> dict[str, Any]:
        """Return plain values: what names the job first; what does not apply is left out."""
        names = {"kind": self.job.kind, "method": self.job.method, **self.job.row}
        own = asdict(self)
        own["networks"] = _plain(own["networks"])
        del own["job"]
        if self.job.library:
            names["library"] = self.job.library
        return names | _plain(own)

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Self:
        """Return the specification of plain values."""
        own = {f.name: plain[f.name] for f in fields(cls) if f.name in plain}
        kind, library = plain["kind"], plain.get("library", "")
        setting, networks = Setting.parse(plain["setting"]), plain["networks"]
        own |= {
            "job": Job(kind, plain["dataset"], plain["method"], setting, plain["trial"], library),
            "networks": networks if library else networks_of(kind, networks),
            "batch_size": plain.get("batch_size"),
            "ours": PriorSpec(**plain["ours"]) if "ours" in plain else None,
        }
        return cls(**own)


def networks_of(kind: str, values: Mapping[str, Any]) -> Networks:
    """Return the networks for a kind of data, from plain values by their names."""
    cls = MODELS[kind].networks
    given: dict[str, Any] = {f.name: values[f.name] for f in fields(cls) if f.name in values}
    given |= {key: tuple(value) for key, value in given.items() if isinstance(value, list)}
    return cls(**given)


def library_arguments(model: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model of scvi-tools, from a data set's configuration."""
    known = LIBRARY[model].arguments
    return {theirs: values[key] for key, theirs in known if values.get(key) is not None}


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return lists for tuples, and leave out what is None."""
    return {
        key: _plain(value)
        if isinstance(value, Mapping)
        else list(value)
        if isinstance(value, tuple)
        else value
        for key, value in values.items()
        if value is not None
    }
