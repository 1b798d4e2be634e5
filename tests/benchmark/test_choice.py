"""The choice of a setting, by labels and without."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from vmm.benchmark.choice import AGREEMENT, ELBO, choose_setting, choose_without_labels
from vmm.benchmark.metrics.rows import ROW_COLUMNS
from vmm.errors import InputError

# --------------------------------------------------------------------------------------- by labels


def rows(scores: dict[str, list[tuple[float, float]]], metric: str = "Total", status="ok"):
    """Return tidy rows: (clusters, score) of each trial of each setting."""
    found = []
    for setting, trials in scores.items():
        for trial, values in enumerate(trials):
            for name, value in zip(("Utilized clusters", metric), values, strict=True):
                job = ("m", "scVI", "VampPriorMixture", setting, trial)
                found.append((*job, name, value, "ok" if value is not None else status))
    return pd.DataFrame(found, columns=ROW_COLUMNS)


def test_the_best_mean_score_among_settings_with_enough_clusters():
    """b256-r1 scores best but has 6.5 clusters on average; 7 are enough."""
    scores = {
        "b128-r1": [(20, 0.50), (22, 0.52)],
        "b128-r10": [(8, 0.62), (6, 0.60)],
        "b256-r1": [(7, 0.90), (6, 0.90)],
        "b256-r2.5": [(9, 0.70), (9, 0.40)],
    }
    choice = choose_setting(rows(scores), n_types=7, single_batch=False)
    assert (choice["batch_size"], choice["prior_learning_ratio"]) == (128, 10.0)
    assert (choice["setting"], choice["criteria"]) == ("b128-r10", ["Total"])
    assert choice["reason"] == (
        "best mean Total (0.6100) among the 3 of 4 settings whose mean number of clusters is at "
        "least 7, the number of cell types"
    )
    assert json.loads(json.dumps(choice)) == choice
    assert [row["setting"] for row in choice["table"]] == [
        "b128-r1",
        "b128-r10",
        "b256-r1",
        "b256-r2.5",
    ]
    assert choice["table"][1] == {
        "setting": "b128-r10",
        "Utilized clusters": 7.0,
        "Total": pytest.approx(0.61),
        "trials": 2,
    }


def test_settings_are_in_numerical_order_and_the_first_of_equals_is_chosen():
    scores = {name: [(9, 0.5)] for name in ("b512-r1", "b64-r10", "b64-r2.5", "b128-r1")}
    choice = choose_setting(rows(scores), n_types=7, single_batch=False)
    names = [row["setting"] for row in choice["table"]]
    assert names == ["b64-r2.5", "b64-r10", "b128-r1", "b512-r1"]
    assert choice["setting"] == "b64-r2.5"


def test_one_batch_is_judged_by_bio_conservation():
    scores = {"b64-r1": [(9, 0.3)], "b64-r5": [(9, 0.4)]}
    given = pd.concat([rows(scores, "Bio conservation"), rows({"b64-r1": [(9, None)]})])
    choice = choose_setting(given, n_types=7, single_batch=True)
    assert (choice["criteria"], choice["setting"]) == (["Bio conservation"], "b64-r5")


def test_no_setting_with_enough_clusters():
    """The one with the most, and the reason says so."""
    scores = {"b64-r1": [(5, 0.3)], "b64-r5": [(3, 0.9)]}
    choice = choose_setting(rows(scores), n_types=7, single_batch=False)
    assert choice["setting"] == "b64-r1"
    assert choice["reason"] == (
        "no setting has a mean of at least 7 clusters, the number of cell types; this one has the "
        "most (5.0)"
    )


def test_diverged_trials_do_not_count():
    scores = {"b64-r1": [(9, 0.3), (9, 0.5)], "b64-r5": [(9, 0.39), (None, None)]}
    choice = choose_setting(rows(scores, status="diverged"), n_types=7, single_batch=False)
    assert choice["setting"] == "b64-r1"
    assert [row["trials"] for row in choice["table"]] == [2, 1]


@pytest.mark.parametrize(
    "scores",
    [
        {},
        {"b64-r1": [(None, None)]},
        {"b64-r1": [(9, None)]},
        {"b64-r1": [(9, None)], "b64-r5": [(None, 0.4)]},
    ],
)
def test_nothing_to_choose_from(scores):
    with pytest.raises(InputError, match="no tuned model has both a number of clusters and Total"):
        choose_setting(rows(scores, status="diverged"), n_types=7, single_batch=False)


# --------------------------------------------------------------------------------- without labels

SAME, OTHER, HALVES = [0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]


@pytest.fixture
def tuned(tmp_path):
    """Return a function that writes a tuned model's folder: clusters and validation ELBO."""

    def write(setting: str, trial: int, clusters: list[int], elbo: float, status: str = "ok"):
        folder = tmp_path / setting / f"trial_{trial}"
        folder.mkdir(parents=True)
        job = {"dataset": "m", "model": "scVI", "prior": "VampPriorMixture"}
        spec = {**job, "setting": setting, "trial": trial}
        run = {"status": status, "best_epoch": 2, "spec": spec}
        (folder / "run.json").write_text(json.dumps(run))
        history = pd.DataFrame({"epoch": [1, 2, 3], "valid_elbo": [-99.0, elbo, -98.0]})
        history.to_csv(folder / "history.csv", index=False)
        np.savez(folder / "latent.npz", cluster_probs=np.eye(5)[clusters])
        return folder

    return write


def test_the_most_stable_of_those_that_fit_as_well(tuned):
    """As `vmm.SCVI.tune` would choose; the ELBO is that of the best epoch."""
    folders = [
        tuned("b256-r5", 0, SAME, -12.0),
        tuned("b256-r5", 1, SAME, -12.0),
        tuned("b128-r5", 0, SAME, -10.0),
        tuned("b128-r5", 1, HALVES, -12.0),
        tuned("b128-r1", 0, SAME, -10.0),
        tuned("b128-r1", 1, OTHER, -10.0),
    ]
    choice, rows = choose_without_labels(folders)
    assert (choice["batch_size"], choice["prior_learning_ratio"]) == (128, 5.0)
    assert (choice["setting"], choice["rule"]) == ("b128-r5", "unsupervised")
    assert choice["criteria"] == [ELBO, AGREEMENT]
    assert "the one whose clusters agree best between 2 trials" in choice["reason"]
    assert json.loads(json.dumps(choice)) == choice
    table = pd.DataFrame(choice["table"])
    assert table["setting"].tolist() == ["b128-r1", "b128-r5", "b256-r5"]
    assert table["status"].tolist() == ["less stable", "chosen", "worse fit"]
    assert table[ELBO].tolist() == [-10, -11, -12]
    assert table[AGREEMENT].tolist() == [-0.5, 0, 1]
    values = rows.set_index(["setting", "trial", "metric"])["value"]
    assert values["b128-r5", 1, ELBO] == -12
    assert values["b128-r1", 0, AGREEMENT] == -0.5
    assert values["b128-r1", 0, "Utilized clusters"] == 2


def test_rows_of_each_trial_have_its_agreement_with_the_others(tuned):
    """Of three, two are the same: 1 and -0.5 for these, -0.5 twice for the third."""
    folders = [tuned("b64-r1", t, c, -1.0) for t, c in enumerate((SAME, SAME, OTHER))]
    choice, rows = choose_without_labels(folders)
    agreement = rows[rows["metric"] == AGREEMENT]
    assert agreement["value"].tolist() == [0.25, 0.25, -0.5]
    assert choice["table"][0][AGREEMENT] == pytest.approx(agreement["value"].mean())


def test_a_diverged_trial_bars_its_setting(tuned):
    folders = [
        tuned("b64-r1", 0, SAME, -1.0),
        tuned("b64-r1", 1, SAME, -1.0, "diverged"),
        tuned("b64-r5", 0, SAME, -5.0),
        tuned("b64-r5", 1, OTHER, -5.0),
    ]
    choice, rows = choose_without_labels(folders)
    assert choice["setting"] == "b64-r5"
    assert [(row["status"], row["trials"]) for row in choice["table"]] == [
        ("diverged", 1),
        ("chosen", 2),
    ]
    assert choice["table"][0][AGREEMENT] is None
    statuses = rows.set_index(["setting", "trial", "metric"])["status"]
    assert statuses["b64-r1", 1, ELBO] == "diverged"
    assert statuses["b64-r1", 0, AGREEMENT] == "n/a: no other trial"
    with pytest.raises(InputError, match="no setting gives two clusters or more with every seed"):
        choose_without_labels(folders[:2])
