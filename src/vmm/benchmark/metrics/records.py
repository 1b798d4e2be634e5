"""What is measured: one record a metric, in the order of the paper's tables.

Everything else that lists metrics is derived from :data:`METRICS`: what a job scores, the order of
rows, the columns of tables, which direction is better, what has no value with one batch.

To add a metric, write its function (in a file of its own, if you like) and its record. What the
function takes depends on the family:

========================  =====================================================================
family                    function
========================  =====================================================================
``clustering``            ``f(clusters) -> float``, of :class:`.clustering.Clusters`
``elbo_surgery``          ``f(terms) -> tensor (n,)``, of :class:`.elbo_surgery.Terms`: one value an
                          observation, of which the mean is taken. All share the samples; what is
                          no function of these four log densities needs a family of its own
``integration``           ``f(embedding, cells) -> float``, of :class:`.integration.Embedding` and
                          :class:`.integration.Cells`; of group :data:`AGGREGATE`
                          ``f(metric, metrics, scores) -> float``, see :mod:`.aggregates`
========================  =====================================================================

A function that has no value says why: ``raise Undefined("fewer than 90 cells")``. Keep the
contract of :mod:`vmm.testing.metrics`; it runs over every record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vmm.errors import InputError
from vmm.lazy import by_name

FAMILIES = ("clustering", "elbo_surgery", "integration")
"""What is scored by one job and gathered in one file, whose name it is."""

AGGREGATE, BATCH, BIO = "Aggregate score", "Batch correction", "Bio conservation"
"""Headings of columns. The metrics below the second and third make the aggregate of that name."""
NEWER = "Newer metrics"
"""Heading of those that no aggregate counts."""
CLUSTERS = "Utilized clusters"
"""The metric that tuning bounds."""

_LUECKEN = "(Luecken et al., 2022, Nature Methods 19, 41-50)"
_HERE = "vmm.benchmark.metrics"
_INFINITE = (-math.inf, math.inf)


@dataclass(frozen=True)
class Metric:
    """What there is to know of a metric without computing it.

    Attributes
    ----------
    name : str
        In tidy rows, and in print.
    family : str
        One of :data:`FAMILIES`.
    function : str
        What computes it, as ``module:function``; imported when it is needed.
    description : str
        One sentence, with its source.
    better : {"higher", "lower", "neither"}
    bounds : tuple of float
        Least and greatest value.
    needs_batches, needs_classes : bool
        Whether it is ``n/a`` where there is one batch, or one class.
    of_graphs : bool
        Whether it is also of a graph of neighbours, of a method that embeds nothing
        (``integration``).
    uses_labels : bool
        Whether it is computed of the cells that have a label (``integration``).
    group : str
        Heading above several columns, if any.
    aggregated : bool
        Whether the aggregate that is called like the group counts it.
    column : bool
        Whether tables show it.
    newer : bool
        Whether it is newer than the paper: scored and shown where the configuration asks for it.
    tex : str
        How TeX prints the name, where not as it is.
    decimals : int or None
        Digits of a mean after the point; None: three significant digits, trailing zeros dropped.
    most : int
        Most digits of a mean after the point where `decimals` is None.
    sd_decimals : int
        Digits of a standard deviation after the point.
    """

    name: str
    family: str
    function: str
    description: str
    better: str = "higher"
    bounds: tuple[float, float] = (0.0, 1.0)
    needs_batches: bool = False
    needs_classes: bool = False
    of_graphs: bool = False
    uses_labels: bool = True
    group: str = ""
    aggregated: bool = False
    column: bool = True
    newer: bool = False
    tex: str = ""
    decimals: int | None = 3
    most: int = 3
    sd_decimals: int = 2

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise InputError(
                f"metric {self.name} has the family {self.family!r}; "
                f"there are {', '.join(FAMILIES)}"
            )
        if self.better not in ("higher", "lower", "neither"):
            raise InputError(f"metric {self.name} is better when {self.better!r}: higher or lower?")

    @property
    def is_tested(self) -> bool:
        """Whether methods are compared by a test, and the best printed in bold."""
        return self.better != "neither"

    def decimals_of(self, mean: float) -> int:
        """Return to how many digits after the point the mean is printed."""
        if self.decimals is not None:
            return self.decimals
        leading = math.floor(math.log10(abs(mean))) if mean else 0
        return min(max(2 - leading, 0), self.most)

    def mean_text(self, mean: float) -> str:
        """Return the mean as it is printed."""
        text = f"{mean:z.{self.decimals_of(mean)}f}"
        return text.rstrip("0").rstrip(".") if self.decimals is None and "." in text else text

    def sd_text(self, sd: float) -> str:
        """Return the standard deviation as it is printed."""
        return f"{sd:.{self.sd_decimals}f}"


def _elbo(name: str, tex: str, function: str, description: str, **fields: Any) -> Metric:
    return Metric(
        name,
        "elbo_surgery",
        f"{_HERE}.elbo_terms:{function}",
        description,
        tex=tex,
        decimals=None,
        **fields,
    )


def _clustering(name: str, function: str, description: str, **fields: Any) -> Metric:
    return Metric(name, "clustering", f"{_HERE}.agreement:{function}", description, **fields)


def _integration(name: str, group: str, function: str, description: str, **fields: Any) -> Metric:
    return Metric(
        name,
        "integration",
        f"{_HERE}.{function}",
        description,
        group=group,
        tex=_stacked(name),
        decimals=4,
        sd_decimals=4,
        **fields,
    )


def _stacked(name: str) -> str:
    """Return a name in TeX with its words one above the other, to save width."""
    first, _, second = name.partition(" ")
    return rf"\shortstack[r]{{{first}\\{second}}}" if second else first


def _batch(name: str, function: str, description: str, **fields: Any) -> Metric:
    return _integration(
        name, BATCH, function, description, aggregated=True, needs_batches=True, **fields
    )


def _bio(name: str, function: str, description: str, **fields: Any) -> Metric:
    return _integration(
        name, BIO, function, description, aggregated=True, needs_classes=True, **fields
    )


def _newer(name: str, function: str, description: str, **fields: Any) -> Metric:
    return _integration(name, NEWER, function, description, newer=True, **fields)


METRICS: tuple[Metric, ...] = (
    _clustering(
        CLUSTERS,
        "utilized_clusters",
        "Number of clusters to which at least one observation is assigned.",
        better="neither",
        bounds=(1.0, math.inf),
        decimals=None,
        most=1,
    ),
    _clustering(
        "Accuracy",
        "accuracy",
        "Share of observations whose cluster predicts their class, a cluster predicting the class "
        "of its most probable member (arXiv:2402.04412, section 4.3).",
    ),
    _clustering(
        "NMI (merged)",
        "nmi_merged",
        "Normalised mutual information of the classes and the predicted classes "
        "(arXiv:2402.04412, section 4.3).",
    ),
    _clustering(
        "NMI (unmerged)",
        "nmi_unmerged",
        "Normalised mutual information of the classes and the clusters, arithmetic normalisation "
        "(Vinh, Epps and Bailey, 2010, Journal of Machine Learning Research 11, 2837-2854).",
    ),
    _clustering(
        "ARI (merged)",
        "ari_merged",
        "Adjusted Rand index of the classes and the predicted classes "
        "(arXiv:2402.04412, section 4.3).",
        bounds=(-1.0, 1.0),
        column=False,
    ),
    _clustering(
        "ARI (unmerged)",
        "ari_unmerged",
        "Adjusted Rand index of the classes and the clusters "
        "(Hubert and Arabie, 1985, Journal of Classification 2, 193-218).",
        bounds=(-1.0, 1.0),
        column=False,
    ),
    _clustering(
        "NMI (batch)",
        "nmi_batch",
        "Normalised mutual information of the batches and the clusters: those that are batches, "
        "not types.",
        better="lower",
        newer=True,
    ),
    _clustering(
        "ARI (batch)",
        "ari_batch",
        "Adjusted Rand index of the batches and the clusters.",
        better="lower",
        bounds=(-1.0, 1.0),
        newer=True,
    ),
    _elbo(
        "log p(x|x)",
        r"$\log p(x|x)$",
        "posterior_predictive",
        "Posterior predictive density: mean of log E_q(z|x)[p(x|z)] (arXiv:2402.04412, Table 1).",
        bounds=_INFINITE,
    ),
    _elbo(
        "log p(x)",
        r"$\log p(x)$",
        "evidence",
        "Evidence, by importance sampling "
        "(Burda, Grosse and Salakhutdinov, 2016, arXiv:1509.00519).",
        bounds=_INFINITE,
    ),
    _elbo(
        "E_q[log p(x|z)]",
        r"$\mathrm{E}_q[\log p(x|z)]$",
        "expected_log_likelihood",
        "Expected log-likelihood, the negative distortion (Alemi et al., 2018, arXiv:1711.00464).",
        bounds=_INFINITE,
    ),
    _elbo(
        "KL(q(z|x)||p(z))",
        r"$\mathrm{KL}(q(z|x)\|p(z))$",
        "rate",
        "Rate: mean divergence of the posteriors from the prior "
        "(Alemi et al., 2018, arXiv:1711.00464).",
        better="lower",
        bounds=(0.0, math.inf),
    ),
    _elbo(
        "KL(q(z)||p(z))",
        r"$\mathrm{KL}(q(z)\|p(z))$",
        "marginal_divergence",
        "Divergence of the aggregate posterior from the prior "
        "(Hoffman and Johnson, 2016, NeurIPS workshop on approximate inference).",
        better="lower",
        bounds=(0.0, math.inf),
    ),
    _elbo(
        "I[z;n]",
        r"$\mathrm{I}[z;n]$",
        "index_code_information",
        "Information of a code about its observation, at most log N "
        "(Hoffman and Johnson, 2016, NeurIPS workshop on approximate inference).",
        better="neither",
        bounds=(0.0, math.inf),
    ),
    _integration(
        "Batch correction",
        AGGREGATE,
        "aggregates:group_mean",
        f"Mean of the metrics of batch correction {_LUECKEN}.",
        needs_batches=True,
    ),
    _integration(
        "Bio conservation",
        AGGREGATE,
        "aggregates:group_mean",
        f"Mean of the metrics of bio conservation {_LUECKEN}.",
        needs_classes=True,
    ),
    _integration(
        "Total",
        AGGREGATE,
        "aggregates:total",
        f"0.4 batch correction + 0.6 bio conservation {_LUECKEN}.",
        needs_batches=True,
        needs_classes=True,
    ),
    _batch(
        "Graph connectivity",
        "connectivity:graph_connectivity",
        "Share of a class in the largest strongly connected part of its graph of 15 nearest "
        f"neighbours, mean over classes {_LUECKEN}.",
        of_graphs=True,
    ),
    _batch(
        "KBET",
        "kbet:kbet_by_class",
        "Share of cells whose neighbours' batches pass for a sample of the class, mean over "
        "classes (Büttner et al., 2019, Nature Methods 16, 43-49).",
    ),
    _batch(
        "PCR comparison",
        "pcr:pcr_comparison",
        "Reduction of the variance that the batch explains, against the counts' principal "
        "components (Büttner et al., 2019, Nature Methods 16, 43-49).",
        uses_labels=False,
    ),
    _batch(
        "Silhouette batch",
        "silhouettes:silhouette_batch",
        "One minus the absolute silhouette width of batches within a class, mean over classes "
        f"{_LUECKEN}.",
    ),
    _batch(
        "iLISI",
        "lisi:ilisi",
        "Median effective number of batches among 90 nearest neighbours, scaled "
        "(Korsunsky et al., 2019, Nature Methods 16, 1289-1296).",
        uses_labels=False,
    ),
    _bio(
        "Isolated labels",
        "silhouettes:isolated_labels",
        f"Silhouette width of the classes that are in the fewest batches, scaled {_LUECKEN}.",
    ),
    _bio(
        "KMeans ARI",
        "kmeans:kmeans_ari",
        f"Adjusted Rand index of the classes and as many k-means clusters {_LUECKEN}.",
        bounds=(-1.0, 1.0),
    ),
    _bio(
        "KMeans NMI",
        "kmeans:kmeans_nmi",
        f"Normalised mutual information of the classes and as many k-means clusters {_LUECKEN}.",
    ),
    _bio(
        "Silhouette label",
        "silhouettes:silhouette_label",
        f"Mean silhouette width of classes, scaled {_LUECKEN}.",
    ),
    _bio(
        "cLISI",
        "lisi:clisi",
        "Median effective number of classes among 90 nearest neighbours, scaled so that more is "
        "less (Korsunsky et al., 2019, Nature Methods 16, 1289-1296).",
    ),
    _newer(
        "BRAS",
        "silhouettes:bras",
        "Batch silhouette within a class by cosine distances to the mean of all other batches "
        "(Rautenstrauch and Ohler, 2025, Nature Biotechnology).",
        needs_batches=True,
    ),
    _newer(
        "ciLISI",
        "lisi:cilisi",
        "Mean effective number of batches among the 90 nearest cells of the same class, scaled "
        "(Andreatta et al., 2024, Nature Communications 15, 872).",
        needs_batches=True,
    ),
    _newer(
        "PCR within types",
        "pcr:pcr_within_types",
        "PCR comparison of the variance within classes: that batches have other classes costs "
        "nothing. Of this package.",
        needs_batches=True,
    ),
    _newer(
        "Leiden NMI",
        "best_resolution:leiden_nmi",
        "Normalised mutual information of the classes and Leiden's clusters at the resolution of "
        f"0.2, 0.4, …, 2 where it is best {_LUECKEN}.",
        needs_classes=True,
    ),
    _newer(
        "Leiden ARI",
        "best_resolution:leiden_ari",
        f"Adjusted Rand index of the classes and the same clusters {_LUECKEN}.",
        needs_classes=True,
        bounds=(-1.0, 1.0),
    ),
    _newer(
        "scGraph",
        "scgraph:scgraph",
        "Correlation of distances between classes with those within batches, weighted by their "
        "inverse (Wang, Leskovec and Regev, 2024, bioRxiv 2024.04.02.587824).",
        needs_classes=True,
        bounds=(-1.0, 1.0),
    ),
)
"""Every metric. A new one goes where its column shall stand."""


def of_family(family: str, newer: bool = False) -> tuple[Metric, ...]:
    """Return the metrics of a family, in order, those of a group side by side.

    With `newer` those that are newer than the paper too.

    Raises
    ------
    InputError
        If there is no such family.
    """
    if family not in FAMILIES:
        raise InputError(f"there are no metrics {family!r}; there are {', '.join(FAMILIES)}")
    found = [m for m in METRICS if m.family == family and (newer or not m.newer)]
    groups = list(dict.fromkeys(metric.group for metric in found))
    return tuple(sorted(found, key=lambda metric: groups.index(metric.group)))


def parts_of(aggregate: str, metrics: Iterable[Metric] = METRICS) -> list[str]:
    """Return the names of the metrics that the aggregate of this name counts."""
    return [part.name for part in metrics if part.aggregated and part.group == aggregate]


_BY_NAME = by_name(METRICS)


def metric_named(name: str) -> Metric:
    """Return the record of a metric.

    Raises
    ------
    InputError
        If no metric has this name.
    """
    if name not in _BY_NAME:
        raise InputError(f"no metric is called {name!r}")
    return _BY_NAME[name]


def scored_by(job: str, newer: bool = False) -> tuple[Metric, ...]:
    """Return the metrics of a family, or for ``"tuning"`` those that its choice needs.

    With `newer` as :func:`of_family`. Tuning needs the number of clusters, the aggregates and what
    they count: a further metric is then no reason to tune, and so to train, again.
    """
    if job != "tuning":
        return of_family(job, newer)
    candidates = of_family("clustering") + of_family("integration")
    return tuple(
        m for m in candidates if m.name == CLUSTERS or m.aggregated or m.group == AGGREGATE
    )


def modules_of(job: str, newer: bool = False) -> list[str]:
    """Return the modules that the records of what a job scores name: its scores depend on them."""
    return sorted({metric.function.partition(":")[0] for metric in scored_by(job, newer)})


def scoring_of(job: str, newer: bool = False) -> list[dict[str, Any]]:
    """Return what in the records of what a job scores decides the scores, as its parameter."""
    needs = ("needs_batches", "needs_classes", "of_graphs", "uses_labels")
    decides = ("name", "function", *needs, "group", "aggregated")
    return [{key: getattr(metric, key) for key in decides} for metric in scored_by(job, newer)]


def showing_of(family: str, newer: bool = False) -> list[dict[str, Any]]:
    """Return what in the records of a family decides how tables show it, as their parameter."""
    shows = ("name", "better", "group", "column", "tex", "decimals", "most", "sd_decimals")
    return [{key: getattr(metric, key) for key in shows} for metric in of_family(family, newer)]
