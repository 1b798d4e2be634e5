"""Sentences on which method to use."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from vmm.benchmark.methods.records import METHODS
from vmm.paper.recommendation import recommend, recommendation_html, write_recommendation

NMI = "NMI (unmerged)"
TWO = {"my_cells": {"n_cells": 500, "n_batches": 2, "n_types": 5}}
BEST = [0.80, 0.81, 0.79, 0.82, 0.80, 0.81]
WORSE = [0.70, 0.71, 0.70, 0.71, 0.69, 0.72]
MIXTURES = {"GaussianMixture": 0.6, "VampPriorMixture": 0.8}
CLOSE = [0.81, 0.80, 0.80, 0.81, 0.80, 0.80]


def integration(case, values, descriptions=TWO, **kwargs):
    rows, jobs = case(4, {("my_cells", m, "Total"): v for m, v in values.items()}, **kwargs)
    return recommend({4: rows}, {4: jobs}, descriptions)["my_cells"]["integration"]


def names(entries):
    return [entry["method"] for entry in entries]


def test_clear_winner(case):
    result = integration(case, {"vmm": BEST, "normal": WORSE, "harmony": [0.6] * 6})
    assert (result["score"], result["best"], result["n"]) == ("Total", "VMM", 6)
    assert names(result["significantly_worse"]) == ["N(0, I)", "Harmony"]
    assert result["not_significantly_worse"] == []
    assert result["sentence"].startswith(
        "VMM integrates these cells best: its Total (0.805, mean of 6 trials) is significantly "
        "higher than that of every other method (paired t-tests over trials, uncorrected p ≤ 0.05, "
        "and after Holm's correction for the number of methods too); next is "
        "N(0, I) (0.705), 0.100 behind, 95 % interval 0.091 to 0.109. The score weighs the mixing "
        "of batches"
    )
    assert "only" not in result["sentence"]


def test_tie(case):
    result = integration(case, {"vmm": BEST, "gmm": CLOSE, "normal": WORSE})
    assert names(result["not_significantly_worse"]) == names(result["as_good"]) == ["GMM"]
    assert names(result["significantly_worse"]) == ["N(0, I)"]
    assert (
        "VMM has the highest Total (0.805, mean of 6 trials), and GMM (0.803) is as good within "
        "0.02 (95 % interval of the paired differences over trials): either is a reasonable "
        "choice. Significantly worse (uncorrected p ≤ 0.05, and after Holm's correction for the "
        "number of methods too): N(0, I) (0.705)."
    ) in result["sentence"]
    three = integration(case, {"vmm": BEST, "gmm": CLOSE, "harmony": CLOSE})
    assert "are as good within 0.02" in three["sentence"]
    assert "any of these 3 is a reasonable choice" in three["sentence"]


def test_a_difference_that_is_sure_but_small_is_called_small(case):
    less = [value - 0.004 - 0.001 * (trial % 2) for trial, value in enumerate(BEST)]
    result = integration(case, {"vmm": BEST, "gmm": less})
    assert names(result["significantly_worse"]) == names(result["as_good"]) == ["GMM"]
    assert "GMM (0.800) is as good within 0.02" in result["sentence"]
    assert "best" not in result["sentence"] and "Significantly worse" not in result["sentence"]


def test_far_behind_is_no_reasonable_choice(case):
    """However few the trials that could show it."""
    result = integration(case, {"vmm": [0.59, 0.60, 0.58], "gmm": [0.10, 0.55, 0.193]})
    assert names(result["not_significantly_worse"]) == names(result["undecided"]) == ["GMM"]
    assert result["as_good"] == []
    assert (
        "VMM has the highest Total (0.590, mean of 3 trials). GMM (0.281, 0.309 behind, 95 % "
        "interval −0.263 to 0.881) is not significantly worse (paired t-test over trials, "
        "uncorrected p > 0.05), but 3 trials do not show that it is as good. With only 3 trials, "
        "fewer than 5, a test finds large differences only, and no other method is called as good."
    ) in result["sentence"]
    assert "reasonable" not in result["sentence"]
    many = integration(case, {"vmm": BEST, "gmm": [0.2, 0.9, 0.8, 0.9, 0.5, 0.9]})
    assert "6 trials do not show that it is as good" in many["sentence"]
    assert "reasonable" not in many["sentence"] and "fewer than 5" not in many["sentence"]


def test_what_is_left_after_a_correction_is_said(case):
    """Of two tests with p = 0.049 each, Holm's correction leaves none; one needs none."""
    some = [0.78, 0.82, 0.74, 0.75, 0.79, 0.76]
    alone = integration(case, {"vmm": BEST, "gmm": some})
    assert "(paired t-tests over trials, uncorrected p ≤ 0.05); next is GMM" in alone["sentence"]
    assert alone["significantly_worse"][0]["p"] == pytest.approx(0.0488, abs=1e-4)
    two = integration(case, {"vmm": BEST, "gmm": some, "normal": some})
    assert "but after Holm's correction for the number of methods no longer)" in two["sentence"]
    both = integration(case, {"vmm": BEST, "gmm": some, "normal": WORSE, "harmony": some})
    assert "for the number of methods no longer for GMM and Harmony)" in both["sentence"]


def test_few_trials_show_no_method_to_be_as_good(case):
    close = [value - 0.001 for value in BEST[:4]]
    close[0] += 0.002
    result = integration(case, {"vmm": BEST[:4], "gmm": close, "normal": WORSE[:4]})
    assert result["as_good"] == [] and names(result["undecided"]) == ["GMM"]
    assert "number of methods too): N(0, I) (0.705)." in result["sentence"]
    assert "fewer than 5" in result["sentence"]


def test_one_trial_claims_nothing(case):
    result = integration(case, {"vmm": [0.8], "gmm": [0.1], "normal": [0.2]})
    assert result["best"] == "VMM"
    assert names(result["not_tested"]) == ["N(0, I)", "GMM"]
    assert result["significantly_worse"] == result["not_significantly_worse"] == []
    assert "(0.800, one trial), before N(0, I) (0.200)" in result["sentence"]
    assert "no significance can be claimed" in result["sentence"]
    assert "significantly higher" not in result["sentence"]


def test_one_method(case):
    result = integration(case, {"vmm": BEST})
    assert "there is no other method to compare it with" in result["sentence"]


def test_single_batch_uses_bio_conservation(case):
    result = integration(
        case,
        {"vmm": ["n/a: single batch"] * 2, "gmm": ["n/a: single batch"] * 2},
        {"my_cells": {"n_batches": 1}},
    )
    assert result["score"] == "Bio conservation"
    assert "since there is one batch" in result["sentence"]
    assert result["best"] == "GMM", "the first of equals, in the order of the table"
    assert names(result["not_significantly_worse"]) == ["VMM"]


def test_diverged_methods_are_named(case):
    result = integration(case, {"vmm": BEST, "gmm": ["diverged"] * 6})
    assert names(result["without_value"]) == ["GMM"]
    assert result["sentence"].endswith("Without a score: GMM.")


def test_a_winner_that_often_diverged_is_called_so(case):
    result = integration(case, {"vmm": [0.9, *["diverged"] * 5], "gmm": CLOSE})
    assert (result["best"], result["n"], result["n_trials"]) == ("VMM", 1, 6)
    assert "VMM has a score in 1 of 6 trials only" in result["sentence"]
    assert "no significance can be claimed" in result["sentence"]


def test_no_values(case):
    statuses = {"Bio conservation": "diverged"}
    result = integration(case, {"vmm": ["diverged"] * 2}, statuses=statuses)
    assert result["best"] is None
    assert "nothing can be recommended" in result["sentence"]


# Cells ----------------------------------------------------------------------------------------

PARTLY = {"n_cells": 5000, "n_labelled": 1200, "n_batches": 2}


def test_it_says_of_how_many_labelled_cells_it_speaks(case):
    result = integration(case, {"vmm": BEST, "gmm": WORSE}, {"my_cells": PARTLY})
    sentence = "annotated cell types of the 1,200 of 5,000 cells that have a label (0.6)."
    assert sentence in result["sentence"]
    all_of_them = {"my_cells": PARTLY | {"n_labelled": 5000}}
    result = integration(case, {"vmm": BEST, "gmm": WORSE}, all_of_them)
    assert "label" not in result["sentence"]


def test_without_labels_nothing_is_recommended(case):
    status = "n/a: no labelled cells"
    result = integration(
        case,
        {"vmm": [status] * 2},
        {"my_cells": PARTLY | {"n_labelled": 0}},
        statuses={"Bio conservation": status},
    )
    assert result["best"] is result["score"] is None
    assert result["without_value"] == []
    assert result["sentence"].startswith("No cell has a label, so no embedding can be called the")
    assert "How well batches mix is in Table 4 (" in result["sentence"]
    assert "Bio conservation" not in result["sentence"]


def test_without_labels_stability_is_what_can_be_said(case):
    """Of the model whose clusters come back best, whatever the order of the table."""
    status, about = "n/a: no labelled cells", {"my_cells": PARTLY | {"n_labelled": 0}}
    names = ("Accuracy", "NMI (merged)", NMI)
    values = {("my_cells", method, NMI): [status] * 3 for method in ("gmm", "vmm")}
    rows, jobs = case(3, values, others=9, statuses=dict.fromkeys(names, status))
    own = {"n_trials": 3, "n_clusters": 9, "ari_least": 0.5, "ari_most": 0.9}
    own |= {"n_stable": 7, "in_stable": 0.8, "unsure": 0.1}
    found = {prior: {"dataset": "my_cells", "model": "scVI", "prior": prior} for prior in MIXTURES}
    table = pd.DataFrame(
        [{**found[p], "setting": "chosen", **own, "ari": ari} for p, ari in MIXTURES.items()]
    )
    said = recommend({3: rows}, {3: jobs}, about, table)["my_cells"]["clustering"]
    assert said["best"] is said["score"] is None and said["stability"]["method"] == "VMM"
    assert "Those of VMM come back best of the models' own: its clusters agree" in said["sentence"]
    alone = recommend({3: rows}, {3: jobs}, about, table[table["ari"] < 0.7])["my_cells"]
    assert "GMM's clusters agree between two of 3 trials" in alone["clustering"]["sentence"]
    assert "NMI" not in said["sentence"]


def test_isolated_labels_of_one_cell_are_said_to_tell_nothing(case):
    description = {"cell_types": {"T": 80, "B": 40, "rare": 1}, "isolated_types": ["rare"]}
    result = integration(case, {"vmm": BEST, "gmm": WORSE}, {"my_cells": TWO | description})
    assert result["sentence"].endswith(
        "Isolated labels is 0.500 for every method and tells nothing: the cell type in the fewest "
        "batches (rare) has one cell."
    )


def test_clustering_counts_leiden_rows(case):
    rows, jobs = case(
        3,
        {
            ("my_cells", "vmm", NMI): WORSE,
            ("my_cells", "pca", NMI, "leiden"): [0.9] * 6,
            ("my_cells", "gmm", NMI, "leiden"): [0.8] * 6,
        },
    )
    result = recommend({3: rows}, {3: jobs}, TWO)
    assert list(result["my_cells"]) == ["clustering"]
    clustering = result["my_cells"]["clustering"]
    assert (clustering["best"], clustering["setting"]) == ("Leiden on PCA", "leiden")
    assert names(clustering["significantly_worse"]) == ["VMM"]
    # Neither of two baselines varies: their constant difference is nothing to test.
    assert names(clustering["not_tested"]) == names(clustering["same_difference"])
    assert names(clustering["same_difference"]) == ["Leiden on GMM"]
    assert "as far behind in every trial: Leiden on GMM (0.800)." in clustering["sentence"]
    assert "clusters these cells best" in clustering["sentence"]


@pytest.mark.parametrize("dataset", ["my_cells", "<b>&"])
def test_write(case, dataset, tmp_path):
    rows, jobs = case(4, {(dataset, "vmm", "Total"): BEST, (dataset, "gmm", "Total"): WORSE})
    result = recommend({4: rows}, {4: jobs}, {})
    paths = write_recommendation(result, tmp_path / "recommendation")
    assert [path.name for path in paths] == ["recommendation.json", "recommendation.html"]
    assert json.loads(paths[0].read_text()) == result
    html = paths[1].read_text()
    assert html == recommendation_html(result)
    assert "<b>" not in html
    assert html.count("<p>") == 1
    assert "VMM integrates these cells best" in html


def test_data_sets_stand_apart(case):
    rows, jobs = case(
        4,
        {
            ("a", "vmm", "Total"): BEST,
            ("a", "gmm", "Total"): WORSE,
            ("b", "vmm", "Total"): WORSE,
            ("b", "gmm", "Total"): BEST,
        },
    )
    result = recommend({4: rows}, {4: jobs}, {})
    assert {name: part["integration"]["best"] for name, part in result.items()} == {
        "a": "VMM",
        "b": "GMM",
    }


# -------------------------------------------------------------------------------- stability


def clustering(case, values, stability):
    rows, jobs = case(3, {("my_cells", m, NMI): v for m, v in values.items()})
    return recommend({3: rows}, {3: jobs}, TWO, stability)["my_cells"]["clustering"]


def stable(method: str, **changes) -> pd.DataFrame:
    record = METHODS["cells"][method]
    found = {
        "dataset": "my_cells",
        "model": record.model,
        "prior": record.prior,
        "setting": "chosen",
        "n_trials": 6,
        "n_clusters": 8.5,
        "ari": 0.812,
        "ari_least": 0.7,
        "ari_most": 0.91,
        "n_stable": 6.2,
        "in_stable": 0.934,
        "unsure": 0.021,
    }
    return pd.DataFrame([found | changes])


def test_how_sure_the_clusters_are(case):
    table = pd.concat([stable("vmm"), stable("gmm", ari=0.5)])
    judged = clustering(case, {"vmm": BEST, "gmm": WORSE}, table)
    assert judged["stability"]["method"] == "VMM" and judged["stability"]["ari"] == 0.812
    assert judged["sentence"].endswith(
        " Its clusters agree between two of 6 trials, which differ in seed and split, with an "
        "adjusted Rand index of 0.81 in the median (0.70 to 0.91). Of the 8.5 clusters of a trial "
        "6.2, with 93 % of the cells, come back in the others (mean Jaccard similarity of at least "
        "0.75); 2.1 % of the cells have no settled cluster."
    )


def test_two_trials_cannot_tell_which_cells_are_unsettled(case):
    same = {"ari": 0.27, "ari_least": 0.27, "ari_most": 0.27}
    judged = clustering(case, {"vmm": BEST, "gmm": WORSE}, stable("vmm", n_trials=2, **same))
    assert judged["sentence"].endswith(
        " Its clusters agree between the two trials, which differ in seed and split, with an "
        "adjusted Rand index of 0.27. Of the 8.5 clusters of a trial 6.2, with 93 % of the cells, "
        "come back in the other (Jaccard similarity of at least 0.75)."
    )


def test_where_the_best_has_no_clusters_of_its_own_the_best_model_is_described(case):
    """The VMM is best, but was not measured; other data sets are not looked at."""
    judged = clustering(case, {"vmm": BEST, "gmm": WORSE}, stable("gmm"))
    assert "GMM clusters best of the models themselves: its clusters agree" in judged["sentence"]
    elsewhere = clustering(case, {"vmm": BEST}, stable("vmm", dataset="others"))
    assert "stability" not in elsewhere and "adjusted Rand" not in elsewhere["sentence"]
    assert "stability" not in clustering(case, {"vmm": BEST}, None)


def test_what_was_told_the_labels_is_never_recommended(case):
    """Nor does it take part: the others are tested against the best of themselves."""
    result = integration(case, {"vmm": BEST, "scanvi": [0.9] * 6, "normal": WORSE})
    assert result["best"] == "VMM"
    assert names(result["significantly_worse"]) == ["N(0, I)"]
    assert names(result["told_labels"]) == ["scANVI (told the labels)"]
    assert result["without_value"] == result["not_tested"] == []
    assert result["sentence"].endswith(
        "scANVI (told the labels) (0.900) was trained with the labels that it is scored against, "
        "and is compared with no other method."
    )
    clusters = {("my_cells", "vmm", NMI): BEST, ("my_cells", "scanvi", NMI, "leiden"): [0.9] * 6}
    rows, jobs = case(3, clusters)
    both = recommend({3: rows}, {3: jobs}, TWO, stable("vmm"))["my_cells"]["clustering"]
    assert both["sentence"].index("Its clusters agree") < both["sentence"].index("Leiden on scANVI")
    alone = integration(case, {"vmm": BEST, "scanvi": [0.9] * 6})
    assert "there is no other method to compare it with" in alone["sentence"]
