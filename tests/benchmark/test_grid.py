"""From configurations to jobs: the counts of the paper, settings, what a job is told."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import yaml

from vmm.benchmark import grid
from vmm.benchmark.config import complete, load
from vmm.benchmark.grid import Ladder
from vmm.benchmark.job import Job
from vmm.benchmark.methods.records import METHODS
from vmm.benchmark.ours import training_settings
from vmm.benchmark.setting import CHOSEN, Setting
from vmm.benchmark.spec import PriorSpec, Spec
from vmm.models.records import CellNetworks, ImageNetworks

ROOT = Path(__file__).resolve().parents[2]
CELLS = ["cortex", "pbmc", "lung_atlas", "split_seq"]


@pytest.fixture(scope="module")
def paper() -> dict:
    return load(ROOT / "config" / "config.yaml")


def small(datasets: dict, inference: dict | None = None, **experiments) -> dict:
    given = {"run": "x", "trials": 2, "seed": 3, "n_components": 8, "datasets": datasets}
    given["inference"] = inference
    return complete(given | ({"experiments": experiments} if experiments else {}))


# ------------------------------------------------------------------------- counts of the paper


def test_image_models_of_the_paper(paper):
    """180: Figure 1 has 80, of which Table 2 uses 20; Table 1 has 40, Table 2 60 more."""
    jobs = {
        name: set(grid.experiment_jobs(paper, name))
        for name in ("batch_size", "elbo_surgery", "image_clustering")
    }
    assert {name: len(these) for name, these in jobs.items()} == {
        "batch_size": 80,
        "elbo_surgery": 40,
        "image_clustering": 80,
    }
    assert len(jobs["batch_size"] & jobs["image_clustering"]) == 20
    assert len(jobs["image_clustering"] - jobs["batch_size"]) == 60
    assert not jobs["elbo_surgery"] & (jobs["batch_size"] | jobs["image_clustering"])
    images = [job for job in grid.training_jobs(paper) if job.kind == "images"]
    assert len(images) == len(set(images)) == len(set.union(*jobs.values())) == 180


def test_cell_models_of_the_paper(paper):
    """160 models, 120 embeddings by three baselines, 60 ladders of tuning."""
    cells = [job for job in grid.training_jobs(paper) if job.kind == "cells"]
    assert len(cells) == len(set(cells)) == 160
    each = Counter((job.dataset, job.method) for job in cells)
    methods = ["scvi_tools", "normal", "gmm", "vmm"]
    assert each == {(dataset, method): 10 for dataset in CELLS for method in methods}
    baselines = Counter(job.method for job in grid.baseline_jobs(paper))
    assert baselines == {"pca": 40, "harmony": 40, "scanorama": 40}
    assert grid.tuned_datasets(paper) == CELLS
    assert [len(grid.ladders(paper, dataset)) for dataset in CELLS] == [15] * 4


def test_what_is_clustered_in_the_paper(paper):
    """Figure 1 and Table 2: 140 image models; Table 3: GMM and VMM of four data sets."""
    jobs = grid.clustering_jobs(paper)
    assert len(jobs) == len(set(jobs))
    assert Counter(job.kind for job in jobs) == {"images": 140, "cells": 80}
    assert {job.method for job in jobs if job.kind == "cells"} == {"gmm", "vmm"}
    assert {job.method for job in jobs if job.kind == "images"} == {
        "vampprior",
        "vade",
        "gmm",
        "vmm",
    }


def test_rows_of_the_papers_tables(paper):
    """Table 3 also has Leiden's clusters of all seven embeddings."""
    jobs = {number: grid.table_jobs(paper, number) for number in (1, 2, 3, 4)}
    assert {number: len(set(these)) for number, these in jobs.items()} == {
        1: 40,
        2: 80,
        3: 4 * 10 * (2 + 7),
        4: 4 * 10 * 7,
    }
    settings = Counter(str(job.setting) for job in jobs[3])
    assert settings == {"chosen": 80, "leiden": 280}
    assert jobs[4][0].row == {
        "dataset": "cortex",
        "model": "scvi-tools",
        "prior": "StandardNormal",
        "setting": "chosen",
        "trial": 0,
    }


def test_controls_are_scored_and_stand_in_no_table():
    given = {"pbmc68k": {"batch_size": 8, "prior_learning_ratio": 1}}
    config = small(given, cells={"methods": ["vmm"], "baselines": ["pca"]})
    controls = {"perfect", "shuffled", "random"}
    assert {job.method for job in grid.baseline_jobs(config)} == {"pca", *controls}
    assert {job.method for job in grid.control_jobs(config, "pbmc68k")} == {"vmm", "pca", *controls}
    assert grid.control_jobs(config, "pbmc4k") == []
    shown = [job for number in (3, 4) for job in grid.table_jobs(config, number)]
    assert {job.method for job in shown} == {"vmm", "pca"}
    assert {job.method for job in grid.leiden_jobs(config)} == {"vmm", "pca"}


def test_cells_without_labels_have_no_control_of_types():
    given = {"path": "x.h5ad", "batch_size": 8, "prior_learning_ratio": 1}
    cells = {"methods": ["vmm"], "baselines": ["pca"]}
    new = complete(
        {"run": "r", "tuning": "unsupervised", "datasets": {"mine": given}}
        | {"experiments": {"cells": cells}}
    )
    assert {job.method for job in grid.control_jobs(new, "mine")} == {
        "vmm", "pca", "shuffled", "random"
    }  # fmt: skip


def test_the_paper_has_no_controls(paper):
    assert not any(grid.control_jobs(paper, dataset) for dataset in CELLS)


def test_leiden_left_out():
    given = {"pbmc68k": {"batch_size": 8, "prior_learning_ratio": 1}}
    config = small(given, cells={"leiden_resolution": None, "methods": ["normal", "vmm"]})
    assert grid.leiden_jobs(config) == []
    assert {job.method for job in grid.table_jobs(config, 3)} == {"vmm"}
    assert [grid.table_jobs(config, number) for number in (1, 2)] == [[], []]


def test_table_1_is_fashion_mnist_stopped_by_its_elbo(paper):
    jobs = grid.experiment_jobs(paper, "elbo_surgery")
    assert {(job.dataset, str(job.setting)) for job in jobs} == {("fashion_mnist", "b256-elbo")}
    spec = grid.spec(jobs[0], paper)
    assert (spec.monitor, spec.max_epochs, spec.patience) == ("elbo", 500, 20)


def test_no_two_jobs_share_a_folder(paper):
    jobs = [*grid.training_jobs(paper), *grid.baseline_jobs(paper)]
    assert len({job.folder for job in jobs}) == len(jobs) == 460


def test_every_method_of_the_grid_has_a_name(paper):
    for job in [*grid.training_jobs(paper), *grid.baseline_jobs(paper)]:
        record = METHODS[job.kind][job.method]
        assert (record.model, record.prior) == (job.model, job.prior)


# ---------------------------------------------------------------------------------- tuning


def test_ladders_of_the_paper(paper):
    """Ascending ratios; the small ones only where the learning rate is 1e-3 or more."""
    ladders = grid.ladders(paper, "cortex")
    assert ladders[:3] == [
        Ladder("cortex", 0, 128, (1.0, 2.5, 5.0, 10.0)),
        Ladder("cortex", 0, 256, (1.0, 2.5, 5.0, 10.0)),
        Ladder("cortex", 0, 512, (1.0, 2.5, 5.0, 10.0)),
    ]
    assert {ladder.trial for ladder in ladders} == {0, 1, 2, 3, 4}
    slow = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
    assert {ladder.ratios for ladder in grid.ladders(paper, "lung_atlas")} == {slow}
    assert {ladder.ratios for ladder in grid.ladders(paper, "split_seq")} == {slow}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [(64, (1.0, 5.0)), (128, (1.0, 5.0))]),
        ({"batch_size": 32}, [(32, (1.0, 5.0))]),
        ({"prior_learning_ratio": 2}, [(64, (2.0,)), (128, (2.0,))]),
        ({"learning_rate": 1e-3}, [(64, (0.5, 1.0, 5.0)), (128, (0.5, 1.0, 5.0))]),
        ({"learning_rate": 2e-3, "prior_learning_ratio": 2}, [(64, (2.0,)), (128, (2.0,))]),
        ({"batch_size": 32, "prior_learning_ratio": 2}, None),
    ],
)
def test_only_what_is_not_given_is_tuned(given, expected):
    tuning = {
        "trials": 1,
        "batch_sizes": [128, 64],
        "prior_learning_ratios": [5, 1],
        "slow_ratios": [0.5, 1],
    }
    config = small({"pbmc68k": given}, tuning=tuning, cells={})
    if expected is None:
        assert grid.tuned_datasets(config) == []
    else:
        assert grid.tuned_datasets(config) == ["pbmc68k"]
        ladders = grid.ladders(config, "pbmc68k")
        assert [(ladder.batch_size, ladder.ratios) for ladder in ladders] == expected


def test_only_cells_that_are_used_are_tuned():
    both = {"pbmc68k": {}, "pbmc68k_replicates": {}, "digits": {}}
    config = small(both, tuning={}, cells={"datasets": ["pbmc68k"]})
    assert grid.tuned_datasets(config) == ["pbmc68k"]
    assert grid.tuned_datasets(small(both, tuning={})) == ["pbmc68k", "pbmc68k_replicates"]
    given = {"pbmc68k": {"batch_size": 8, "prior_learning_ratio": 1}}
    assert grid.tuned_datasets(small(given, cells={})) == []


def test_specification_of_tuning(paper):
    """Each step has a setting and a ratio of its own."""
    ladder = grid.ladders(paper, "lung_atlas")[1]
    spec = grid.ladder_spec(ladder, paper)
    assert (spec.batch_size, spec.job.trial, spec.prior_learning_ratio) == (256, 0, None)
    assert (spec.job.model, spec.job.prior) == ("scVI", "VampPriorMixture")
    assert (spec.max_epochs, spec.patience, spec.monitor) == (10_000, 100, "elbo")
    step = spec.at_ratio(2.5)
    assert str(step.job.setting) == "b256-r2.5" and step.prior_learning_ratio == 2.5
    assert Spec.of(step.plain()) == step


def test_the_choice_fills_only_what_was_tuned():
    tuned = {"batch_size": 64, "prior_learning_ratio": 2.5, "criteria": ["Total"]}
    given = {"batch_size": 16}

    def filled(method, **settings):
        config = small({"pbmc68k": settings}, tuning={}, cells={"methods": [method]})
        spec = grid.spec(Job("cells", "pbmc68k", method, CHOSEN, 0), config).with_choice(tuned)
        return spec.batch_size, spec.prior_learning_ratio

    assert filled("vmm") == filled("gmm") == (64, 2.5)
    assert filled("vmm", **given) == (16, 2.5)
    assert filled("vmm", prior_learning_ratio=4) == (64, 4)
    # A ratio means nothing to these.
    assert filled("normal") == filled("vampprior") == filled("scvi_tools") == (64, None)


# ------------------------------------------------------------------------------ specifications


def test_specification_of_an_image_model():
    images = {"digits": {"n_latent": 3, "hidden": [20, 9], "vade_clusters": 4, "batch_size": 32}}
    config = small(
        images,
        batch_size={"batch_sizes": [16, 32]},
        image_clustering={"max_epochs": 6, "patience": 5},
    )
    job = Job("images", "digits", "vade", Setting(32, stop="nmi"), 1)
    assert grid.spec(job, config) == Spec(
        job=job,
        seed=3,
        networks=ImageNetworks(n_latent=3, hidden=(20, 9)),
        learning_rate=1e-4,
        batch_size=32,
        max_epochs=6,
        patience=5,
        monitor="unmerged_nmi",
        ours=PriorSpec(name="vade", n_components=4),
        precision="float32",
    )
    vmm = grid.spec(Job("images", "digits", "vmm", Setting(16, stop="nmi"), 0), config)
    assert (vmm.batch_size, vmm.ours.n_components, vmm.prior_learning_ratio) == (16, 8, 1)
    assert vmm.ours.options == {
        "responsibility_gradient": True,
        "concentration_prior": "inverse_gamma",
        "wishart_scale": "paper",
        "dirichlet_process": True,
    }


def test_who_may_sleep():
    """A training that no component sleeps in is specified as before there was a choice."""
    setting = Setting(16, stop="nmi")
    for below in (0, 0.1):
        config = small({"digits": {}}, image_clustering={}) | {"sleep_below": below}
        for method in ("vade", "vampprior", "gmm", "vmm"):
            plain = grid.spec(Job("images", "digits", method, setting, 0), config).plain()
            wanted = below if below and method in ("gmm", "vmm") else None
            assert plain.get("sleep_below") == wanted
    assert training_settings(Spec.of(plain)).sleep_below == 0.1


def test_specification_of_a_cell_model():
    config = small({"pbmc68k": {"batch_size": 64, "likelihood": "nb"}}, tuning={}, cells={})
    spec = grid.spec(Job("cells", "pbmc68k", "gmm", CHOSEN, 0), config)
    assert (spec.batch_size, spec.prior_learning_ratio) == (64, None)
    assert spec.networks == CellNetworks(n_latent=10, n_layers=1, n_hidden=128, likelihood="nb")


@pytest.mark.parametrize("kind", METHODS)
def test_a_specification_has_only_what_its_model_uses(kind):
    """So that a switch runs again only what it concerns; and it prints and reads itself."""
    data = {"pbmc68k": {"batch_size": 64, "prior_learning_ratio": 2}, "digits": {}}
    config = small(data, cells={}, image_clustering={})
    dataset = {"cells": "pbmc68k", "images": "digits"}[kind]
    setting = CHOSEN if kind == "cells" else Setting(256, stop="nmi")
    for name, record in METHODS[kind].items():
        spec = grid.spec(Job(kind, dataset, name, setting, 0), config)
        plain = spec.plain()
        assert Spec.of(plain) == spec and Spec.of(yaml.safe_load(yaml.safe_dump(plain))) == spec
        prior = record.prior_record
        assert ("ours" in plain) == ("precision" in plain) == record.is_ours
        assert ("prior_learning_ratio" in plain) == bool(prior and prior.empirical_bayes)
        if prior:
            assert ("n_components" in plain["ours"]) == prior.clusters
            assert tuple(plain["ours"]["options"]) == prior.options_for(kind)
            balanced = plain["ours"].get("balanced_pseudo_inputs")
            assert balanced == (False if prior.has_pseudo_inputs else None)
        told = (record.n_clusters_key,) if record.n_clusters_key else ()
        assert tuple(plain.get("options", ())) == (*record.options, *told)
        assert ("log_counts" in plain["networks"]) == (kind == "cells")


def test_switches_go_where_they_belong():
    """What scVI's encoder sees to all of its models; what is about cells not to images."""
    given = {"pbmc68k": {"batch_size": 64, "prior_learning_ratio": 2}, "digits": {}}
    switches = {
        "log_counts": False,
        "deeply_inject_covariates": False,
        "train_pseudo_inputs": False,
        "dirichlet_process": False,
        "balanced_pseudo_inputs": True,
    }
    config = small(given, inference=switches, cells={}, image_clustering={})

    def of(kind, method):
        setting = CHOSEN if kind == "cells" else Setting(256, stop="nmi")
        dataset = "pbmc68k" if kind == "cells" else "digits"
        return grid.spec(Job(kind, dataset, method, setting, 0), config)

    assert not any(of("cells", name).networks.log_counts for name in ("scvi_tools", "normal"))
    assert of("cells", "scvi_tools").options == {"deeply_inject_covariates": False}
    assert of("cells", "vmm").options is None
    assert of("cells", "vampprior").ours.options == {"train_pseudo_inputs": False}
    assert of("images", "vampprior").ours.options == {}
    for kind, name in (("cells", "gmm"), ("images", "vmm")):
        assert of(kind, name).ours.options["dirichlet_process"] is False
    assert of("cells", "vmm").ours.balanced_pseudo_inputs is True
    assert of("cells", "gmm").ours.balanced_pseudo_inputs is None


def test_a_specification_from_before_a_switch_reads_as_its_default():
    config = small({"pbmc68k": {"batch_size": 64}}, tuning={}, cells={})
    spec = grid.spec(Job("cells", "pbmc68k", "gmm", CHOSEN, 0), config)
    plain = spec.plain()
    del plain["networks"]["log_counts"]
    assert Spec.of(plain) == spec


def test_batch_sizes_alone():
    """Figure 1 without Table 2 has its own length."""
    config = small({"digits": {}}, batch_size={"batch_sizes": [8], "max_epochs": 4})
    (first, _) = grid.training_jobs(config)
    assert first == Job("images", "digits", "vmm", Setting(8, stop="nmi"), 0)
    assert grid.spec(first, config).max_epochs == 4
    assert grid.clustering_jobs(config) == grid.training_jobs(config)
    assert grid.experiment_jobs(config, "cells") == []


@pytest.mark.parametrize(
    ("experiments", "expected"),
    [
        ({"cells": {"methods": ["normal", "vmm"]}}, ({"n_components": 8}, {})),
        ({"cells": {"methods": ["scvi_tools", "gmm"]}}, ({}, {})),
        (
            {"image_clustering": {"methods": ["gmm"]}, "cells": {"methods": ["vampprior"]}},
            ({"n_components": 8}, {}),
        ),
        ({"image_clustering": {"methods": ["vade"]}}, ({}, {"vade_clusters": 3})),
        ({"image_clustering": {"methods": ["gmm", "dec"]}}, ({}, {"vade_clusters": 3})),
        ({"image_clustering": {"methods": ["dipdeck"]}}, ({}, {})),
    ],
)
def test_rows_to_start_from(experiments, expected):
    """Pseudo-inputs and the clusters of VaDE need training rows; N(0, I) and the GMM none."""
    given = {"batch_size": 8, "prior_learning_ratio": 1}
    config = small({"pbmc68k": given, "digits": {"vade_clusters": 3}}, **experiments)
    assert grid.starts(config, "pbmc68k") == expected[0]
    assert grid.starts(config, "digits") == expected[1]


def test_what_is_measured_in_cells_has_a_name():
    """By the model's own word, and what is beside."""
    assert grid.measured({}) == grid.measured({"model": None}) == ["genes"]
    assert grid.measured({"model": "TOTALVI", "proteins": "adt"}) == ["genes", "proteins"]
    assert grid.measured({"model": "MULTIVI", "peaks": "atac"}) == ["genes", "peaks"]
    assert grid.measured({"model": "PEAKVI"}) == grid.measured({"model": "POISSONVI"}) == ["peaks"]
    assert grid.measured({"model": "CYTOVI"}) == ["proteins"]


def test_rows_to_start_from_in_tuning():
    """It trains the VMM, whatever is trained afterwards."""
    config = small({"pbmc68k": {}}, tuning={}, cells={"methods": ["normal"]})
    assert grid.starts(config, "pbmc68k") == {"n_components": 8}


def test_the_preparation_depends_on_the_data_alone():
    config = small({"m": {"path": "x.h5ad", "label_key": "t", "n_latent": 3, "batch_size": 4}})
    settings = grid.data_settings(config["datasets"]["m"])
    assert settings == {"kind": "cells", "path": "x.h5ad", "label_key": "t"}
