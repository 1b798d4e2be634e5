"""Tuning: the climb over ratios, and the choice of a setting."""

from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

import vmm.benchmark.tuning
from vmm.benchmark.job import Job
from vmm.benchmark.metrics.rows import ROW_COLUMNS
from vmm.benchmark.setting import Setting
from vmm.benchmark.spec import PriorSpec, Spec
from vmm.benchmark.tuning import choose_setting, climb
from vmm.errors import InputError
from vmm.models.records import CellNetworks

SPEC = Spec(
    job=Job("cells", "mine", "vmm", Setting(64, 1.0), 0),
    seed=0,
    networks=CellNetworks(n_latent=2, n_layers=1, n_hidden=8, likelihood="nb"),
    learning_rate=1e-3,
    batch_size=64,
    max_epochs=5,
    patience=5,
    monitor="elbo",
    ours=PriorSpec(name="vmm", n_components=30),
)
ORIGIN = {"code": "a", "data": "b"}


# ------------------------------------------------------------------------------------ the climb


@pytest.fixture
def trained(monkeypatch):
    """Replace training: the clusters at each ratio are given. Return (clusters, ratios trained)."""
    clusters, trained = {}, []

    def train(data, splits, specs, folders, device, cuda_graph, origin):
        assert (device, cuda_graph) == ("cpu", True)
        trials, ratio = [spec.job.trial for spec in specs], specs[0].prior_learning_ratio
        assert {str(spec.job.setting) for spec in specs} == {f"b64-r{ratio:g}"}
        assert splits == [f"split {trial}" for trial in trials]
        trained.append(ratio if trials == [0] else (ratio, trials))
        for spec, folder in zip(specs, folders, strict=True):
            folder.mkdir(parents=True, exist_ok=True)
            found = clusters.get((spec.job.trial, ratio), clusters.get(ratio))
            run = {
                "spec": spec.plain(),
                "origin": origin,
                "utilized_clusters": found,
                "status": "ok",
            }
            (folder / "run.json").write_text(json.dumps(run))

    monkeypatch.setattr(vmm.benchmark.tuning, "train_trials", train)
    return clusters, trained


def run_climb(tmp_path, ratios, n_types, n_trials=1, learning_rate=1e-3, **changes):
    def folder_of(trial, setting):
        return tmp_path / str(setting) / f"trial_{trial}"

    jobs = [replace(SPEC.job, trial=trial) for trial in range(n_trials)]
    specs = [replace(SPEC, job=job, learning_rate=learning_rate) for job in jobs]
    splits = [f"split {trial}" for trial in range(n_trials)]
    ladders = climb(
        "data", splits, specs, ratios, n_types, folder_of, "cpu", True, ORIGIN | changes
    )
    return ladders[0] if n_trials == 1 else ladders


def test_ratios_ascend_until_there_are_too_few_clusters(trained, tmp_path):
    """The climb ends at the first ratio with fewer clusters than cell types, not at as many."""
    clusters, ratios = trained
    clusters |= {1.0: 20, 2.5: 7, 5.0: 6, 10.0: 30}
    steps = run_climb(tmp_path, [10.0, 1.0, 5.0, 2.5], n_types=7)
    assert ratios == [1.0, 2.5, 5.0]
    assert [step["setting"] for step in steps] == ["b64-r1", "b64-r2.5", "b64-r5"]
    assert steps[1] == {
        "setting": "b64-r2.5",
        "prior_learning_ratio": 2.5,
        "utilized_clusters": 7,
        "status": "ok",
    }


def test_all_ratios_where_clusters_suffice(trained, tmp_path):
    clusters, ratios = trained
    clusters |= {1.0: 20, 2.5: 9}
    assert len(run_climb(tmp_path, [1.0, 2.5], n_types=7)) == 2
    assert ratios == [1.0, 2.5]


def test_without_labels_nothing_is_trained(trained, tmp_path):
    with pytest.raises(InputError, match=r"no cell of \w+ has a label; give batch_size and prior_"):
        run_climb(tmp_path, [1.0], n_types=0)
    assert trained[1] == []


def test_a_killed_climb_goes_on_where_it_was(trained, tmp_path):
    """Finished steps are not trained again, unless the data, the code or the settings changed."""
    clusters, ratios = trained
    clusters |= {1.0: 20, 2.5: 9, 5.0: 8}
    run_climb(tmp_path, [1.0, 2.5], n_types=7)
    steps = run_climb(tmp_path, [1.0, 2.5, 5.0], n_types=7)
    assert ratios == [1.0, 2.5, 5.0]
    assert [step["utilized_clusters"] for step in steps] == [20, 9, 8]
    run_climb(tmp_path, [1.0, 2.5], n_types=7, code="another")
    assert ratios[3:] == [1.0, 2.5]
    run_climb(tmp_path, [1.0], n_types=7, data="another")
    assert ratios[5:] == [1.0]


def test_trials_climb_together_each_as_far_as_it_would_alone(trained, tmp_path):
    clusters, calls = trained
    clusters |= {1.0: 20, 2.5: 9, (1, 2.5): 6, 5.0: 5, (2, 5.0): 8, 10.0: 2}
    ladders = run_climb(tmp_path, [1.0, 2.5, 5.0, 10.0], n_types=7, n_trials=3)
    assert calls == [(1.0, [0, 1, 2]), (2.5, [0, 1, 2]), (5.0, [0, 2]), (10.0, [2])]
    assert [[step["utilized_clusters"] for step in steps] for steps in ladders] == [
        [20, 9, 5],
        [20, 6],
        [20, 9, 8, 2],
    ]


def test_a_step_that_was_killed_is_trained_again_for_all_its_trials(trained, tmp_path):
    """Whose folder was complete too: the stack's checkpoint holds them all."""
    clusters, calls = trained
    clusters |= {1.0: 20, 2.5: 9}
    run_climb(tmp_path, [1.0, 2.5], n_types=7, n_trials=2)
    (tmp_path / "b64-r2.5" / "trial_1" / "run.json").unlink()
    run_climb(tmp_path, [1.0, 2.5], n_types=7, n_trials=2)
    assert calls == [(1.0, [0, 1]), (2.5, [0, 1]), (2.5, [0, 1])]


# ----------------------------------------------------------------------------------- the choice


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
    assert (choice["setting"], choice["criterion"]) == ("b128-r10", "Total")
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
    assert (choice["criterion"], choice["setting"]) == ("Bio conservation", "b64-r5")


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
