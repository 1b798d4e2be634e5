"""Every metric keeps the contract, and everything that lists metrics follows from the records."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from vmm.benchmark.metrics import records
from vmm.benchmark.metrics.clustering import clustering_scores
from vmm.benchmark.metrics.integration import integration_scores
from vmm.benchmark.metrics.records import METRICS, Metric, metric_named, of_family, parts_of
from vmm.errors import InputError
from vmm.testing.metrics import MetricContract, example


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
class TestMetrics(MetricContract):
    pass


def test_the_papers_aggregates_count_its_ten_metrics():
    batch = ["Graph connectivity", "KBET", "PCR comparison", "Silhouette batch", "iLISI"]
    bio = ["Isolated labels", "KMeans ARI", "KMeans NMI", "Silhouette label", "cLISI"]
    assert parts_of("Batch correction") == batch
    assert parts_of("Bio conservation") == bio


def test_what_has_a_better_direction():
    lower = {metric.name for metric in METRICS if metric.better == "lower"}
    assert lower == {"KL(q(z|x)||p(z))", "KL(q(z)||p(z))", "NMI (batch)", "ARI (batch)"}
    assert {m.name for m in METRICS if not m.is_tested} == {"Utilized clusters", "I[z;n]"}


def test_jobs_are_told_what_concerns_them(monkeypatch):
    scoring, showing = records.scoring_of("integration"), records.showing_of("integration")
    others = records.scoring_of("clustering"), records.modules_of("clustering")
    changed = [replace(m, decimals=2, description="Other words.") for m in METRICS]
    monkeypatch.setattr(records, "METRICS", tuple(changed))
    assert records.scoring_of("integration") == scoring
    assert records.showing_of("integration") != showing
    monkeypatch.setattr(records, "METRICS", (*METRICS, NEW))
    assert len(records.scoring_of("integration")) == len(scoring) + 1
    assert "spread_of_mine" in records.modules_of("integration")
    assert (records.scoring_of("clustering"), records.modules_of("clustering")) == others


def test_tuning_scores_what_its_choice_needs(monkeypatch):
    """Another metric, of whatever family, tunes nothing anew; one that an aggregate counts does."""
    scored = records.scored_by("tuning")
    assert [m.name for m in scored if m.family == "clustering"] == ["Utilized clusters"]
    assert {"Total", "Bio conservation", *parts_of("Bio conservation")} < {m.name for m in scored}
    others = (replace(NEW, name="Purity", family="clustering"), NEW)
    monkeypatch.setattr(records, "METRICS", (*METRICS, *others))
    assert records.scored_by("tuning") == scored
    monkeypatch.setattr(records, "METRICS", (*METRICS, replace(NEW, aggregated=True)))
    assert len(records.scored_by("tuning")) == len(scored) + 1


def test_records_import_nothing_heavy():
    heavy = ("torch", "pandas", "numpy", "scipy", "sklearn", "scib_metrics")
    code = "import sys, vmm.benchmark.metrics.records\n"
    code += f"print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


NEW = Metric(
    "Spread",
    "integration",
    "spread_of_mine:spread",
    "Standard deviation of the embedding.",
    bounds=(0, np.inf),
    group="Bio conservation",
)


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "spread_of_mine.py").write_text(
        "def spread(embedding, cells):\n    return embedding.array.std()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def test_a_metric_of_somebody_else_is_a_function_and_a_record(module, monkeypatch):
    monkeypatch.setattr(records, "METRICS", (NEW, *METRICS))
    names = [metric.name for metric in of_family("integration")]
    # beside the metrics under the same heading, and no part of an aggregate
    assert names.index("Spread") + 1 == names.index("Isolated labels")
    assert parts_of("Bio conservation", records.METRICS) == parts_of("Bio conservation")
    z, *others = example("integration", "plain")
    found = integration_scores({"z": z}, *others, metrics=[NEW])["z"]
    assert found == {"Spread": (pytest.approx(z.std()), "ok")}


def test_an_aggregate_counts_what_says_so(module):
    one = replace(metric_named("Silhouette label"), aggregated=True)
    mean = metric_named("Bio conservation")
    z, *others = example("integration", "plain")
    metrics = [mean, one, replace(NEW, aggregated=True)]
    found = integration_scores({"z": z}, *others, metrics=metrics)["z"]
    assert list(found) == ["Bio conservation", "Silhouette label", "Spread"]
    expected = (found["Silhouette label"][0] + found["Spread"][0]) / 2
    assert found["Bio conservation"] == (pytest.approx(expected), "ok")


@pytest.mark.parametrize(
    "function", ["vmm.benchmark.metrics.kbet:no_such", "no_such_module:kbet", "kbet", ""]
)
def test_a_record_without_its_function_fails_before_any_scoring(function, monkeypatch):
    def never(*_):
        raise AssertionError("scored")

    monkeypatch.setattr("vmm.benchmark.metrics.connectivity.graph_connectivity", never)
    monkeypatch.setattr("vmm.benchmark.metrics.agreement.accuracy", never)
    wrong = replace(NEW, function=function)
    z, *others = example("integration", "plain")
    with pytest.raises(InputError, match="record of the metric Spread names the function"):
        integration_scores({"z": z}, *others, metrics=[metric_named("Graph connectivity"), wrong])
    wrong = replace(wrong, family="clustering")
    with pytest.raises(InputError, match="record of the metric Spread names the function"):
        clustering_scores(*example("clustering", "plain")[:2], [metric_named("Accuracy"), wrong])


def test_unknown_names_and_families_are_named():
    with pytest.raises(InputError, match="no metric is called 'Acuracy'"):
        metric_named("Acuracy")
    with pytest.raises(InputError, match="there are no metrics 'cluster'"):
        of_family("cluster")
    with pytest.raises(InputError, match="metric X has the family 'cluster'"):
        replace(NEW, name="X", family="cluster")
    with pytest.raises(InputError, match="metric X is better when 'low'"):
        replace(NEW, name="X", better="low")
