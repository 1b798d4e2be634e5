"""Published numbers beside ours."""

from __future__ import annotations

import csv

import pytest
from scipy import stats

from vmm.benchmark.methods.records import METHODS
from vmm.errors import InputError
from vmm.paper.comparison import PUBLISHED, comparison, comparison_html, published, write_comparison
from vmm.paper.tables.specs import TABLES

NMI = "NMI (unmerged)"


def line(frame, dataset, prior, metric, table="table2", model="VAE"):
    found = frame[
        (frame["table"] == table)
        & (frame["dataset"] == dataset)
        & (frame["model"] == model)
        & (frame["prior"] == prior)
        & (frame["metric"] == metric)
    ]
    assert len(found) == 1
    return found.iloc[0]


def test_every_published_number_is_there():
    numbers = published()
    counts = numbers.groupby("table").size().to_dict()
    # 4 priors × 6; 2 sets × 4 × 4; 4 sets × 2 × 4; 4 × 6 for cortex and 3 × 4 × 13; 4 in the text.
    assert counts == {
        "table1": 24,
        "table2": 32,
        "table3": 32,
        "table4": 4 * 6 + 3 * 4 * 13,
        "text": 4,
    }
    assert not numbers.duplicated(["table", "dataset", "model", "prior", "metric"]).any()
    assert numbers["source"].str.startswith("arXiv:2402.04412v1, ").all()
    known = {(m.model, m.prior) for methods in METHODS.values() for m in methods.values()}
    for row in numbers[numbers["table"] != "text"].itertuples():
        spec = TABLES[int(row.table[-1])]
        assert row.metric in [column.name for column in spec.columns]
        assert (row.model, row.prior) in known


def test_published_numbers_are_those_of_the_shared_file(shared_data):
    path = shared_data.parent / "paper" / "tables.csv"
    if not path.is_file():
        pytest.skip("the paper's tables are not on this machine")
    with path.open() as theirs, PUBLISHED.open() as ours:
        expected = [list(row.values()) for row in csv.DictReader(theirs)]
        assert [list(row.values())[:7] for row in csv.DictReader(ours)] == expected


def test_nothing_run():
    frame = comparison({}, {})
    assert len(frame) == len(published())
    numbers = frame[frame["table"] != "text"]
    assert set(numbers["verdict"]) == {"not run"}
    assert frame[["mean", "sd", "ci_low", "ci_high", "difference"]].isna().all(axis=None)


def test_verdicts(case):
    values = {
        ("mnist", "vmm", NMI): [0.89, 0.90, 0.91],  # published 0.899
        ("mnist", "gmm", NMI): [0.80, 0.81, 0.80],  # published 0.876
        ("mnist", "vampprior", NMI): [0.70, 0.71, 0.70],  # published 0.627
        ("mnist", "vade", NMI): ["diverged"] * 3,
        ("mnist", "vade", "Accuracy"): [0.90, 0.93, 0.86],
        ("fashion_mnist", "vmm", NMI): [0.6],
    }
    rows, jobs = case(2, values)
    frame = comparison({2: rows}, {2: jobs})
    ours = line(frame, "mnist", "VampPriorMixture", NMI)
    assert ours["verdict"] == "within our 95 % CI"
    assert (ours["published_mean"], ours["published_sd"], ours["n"]) == (0.899, 0.01, 3)
    assert ours["difference"] == pytest.approx(0.001)
    assert ours["sd"] == pytest.approx(0.01)
    half = stats.t.ppf(0.975, 2) * 0.01 / 3**0.5
    assert (ours["ci_low"], ours["ci_high"]) == (
        pytest.approx(0.9 - half),
        pytest.approx(0.9 + half),
    )
    assert line(frame, "mnist", "GaussianMixture", NMI)["verdict"] == "above our 95 % CI"
    assert line(frame, "mnist", "VampPrior", NMI)["verdict"] == "below our 95 % CI"
    vade = line(frame, "mnist", "GaussianMixture", NMI, model="VaDE")
    assert vade["verdict"] == "n/a: 0 of 3 trials have a value: 3 diverged"
    assert vade["n"] == 0
    one = line(frame, "fashion_mnist", "VampPriorMixture", NMI)
    assert one["verdict"] == "n/a: one trial, no CI"
    assert one["difference"] == pytest.approx(-0.053)
    assert line(frame, "fashion_mnist", "VampPrior", NMI)["verdict"] == "not run"
    text = frame[(frame["table"] == "text") & (frame["model"] == "VaDE")]
    assert text["mean"].tolist() == [0.93, 0.93]
    assert text["difference"].tolist() == pytest.approx([-0.006, -0.015])
    assert set(text["verdict"]) == {"n/a: best trial, no CI"}
    others = frame[frame["model"].str.startswith("GMVAE")]
    assert set(others["verdict"]) == {"n/a: other authors' number"}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([0.8994, 0.8994], "within our 95 % CI"),  # rounds to 0.899
        ([0.8996, 0.8996], "below our 95 % CI"),  # rounds to 0.900
        ([0.8984, 0.8984], "above our 95 % CI"),
    ],
)
def test_published_means_are_known_up_to_rounding(case, values, verdict):
    rows, jobs = case(2, {("mnist", "vmm", NMI): values})
    frame = comparison({2: rows}, {2: jobs})
    assert line(frame, "mnist", "VampPriorMixture", NMI)["verdict"] == verdict


def test_leiden_rows_are_no_answer_to_the_papers(case):
    rows, jobs = case(
        3,
        {
            ("pbmc", "vmm", NMI, "leiden"): [0.1, 0.2],
            ("pbmc", "vmm", NMI): [0.7, 0.8],
        },
    )
    frame = comparison({3: rows}, {3: jobs})
    ours = line(frame, "pbmc", "VampPriorMixture", NMI, "table3", "scVI")
    assert ours["mean"] == pytest.approx(0.75)


def test_incomplete_or_partial(case, job):
    rows, jobs = case(2, {("mnist", "vmm", NMI): [0.9, 0.91]})
    jobs.append(job("mnist", "gmm", 0))
    with pytest.raises(InputError, match="Table 2 is incomplete"):
        comparison({2: rows}, {2: jobs})
    frame = comparison({2: rows}, {2: jobs}, partial=True)
    assert line(frame, "mnist", "GaussianMixture", NMI)["verdict"] == "not run"
    assert line(frame, "mnist", "VampPriorMixture", NMI)["n"] == 2


def test_write(case, tmp_path):
    rows, jobs = case(2, {("mnist", "vmm", NMI): [0.89, 0.90, 0.91]})
    frame = comparison({2: rows}, {2: jobs})
    paths = write_comparison(frame, tmp_path / "comparison")
    assert [path.name for path in paths] == ["comparison.csv", "comparison.tex", "comparison.html"]
    with paths[0].open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(published())
    ours = {entry["metric"]: entry for entry in lines if entry["mean"]}
    in_the_paper = {entry["metric"] for entry in lines}
    assert {"Utilized clusters", "Accuracy", "NMI (merged)", NMI} <= in_the_paper
    assert list(ours) == [c.name for c in TABLES[2].columns if c.name in in_the_paper]
    ours = ours[NMI]
    assert (float(ours["mean"]), ours["published_mean"]) == (pytest.approx(0.9), "0.899")
    assert ours["n"] == "3"
    html = comparison_html(frame)
    assert html.count('<th scope="row">') == len(published())
    assert "<td>0.899 ± 0.01</td><td>0.900 ± 0.01</td><td>3</td><td>+0.001</td>" in html
    assert "Of 272 numbers:" in html
    tex = paths[1].read_text()
    # Table 1: one set; Tables 2, 3, 4: two, four, four; the text.
    assert tex.count(r"\begin{table}") == 12
    assert r"VMM & NMI (unmerged) & $0.899{\pm}0.01$ & $0.900{\pm}0.01$ & 3 & +0.001" in tex
