"""Tuning: the climb over ratios."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

import vmm.benchmark.tuning
from vmm.benchmark.job import Job
from vmm.benchmark.setting import Setting
from vmm.benchmark.spec import PriorSpec, Spec
from vmm.benchmark.tuning import climb
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


def test_all_ratios_where_labels_do_not_choose(trained, tmp_path):
    clusters, ratios = trained
    clusters |= {1.0: 1, 2.5: 1}
    assert len(run_climb(tmp_path, [1.0, 2.5], n_types=None)) == 2
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
