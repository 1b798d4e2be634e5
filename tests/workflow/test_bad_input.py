"""Bad input: one sentence in the terminal, before anything is trained, and nothing left behind."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest
import working_copy
from working_copy import Project

OWN = {"path": "x.h5ad", "batch_key": "donor", "label_key": "cell_type"}
HERE = "(relative paths start at {folder})"


def own(**changes) -> dict:
    return {"run": "x", "datasets": {"m": OWN | changes}}


# ------------------------------------------------------------------------- the configuration


MISTAKES = {
    "unknown key": (own() | {"trial": 3}, "my.yaml: unknown key 'trial'; did you mean 'trials'?"),
    "unknown key of a data set": (
        own(batchkey="donor"),
        "my.yaml: unknown key 'batchkey' in datasets.m; did you mean 'batch_key'?",
    ),
    "missing file": (
        own(path="lost.h5ad"),
        f"my.yaml: datasets.m.path is 'lost.h5ad', which does not exist {HERE}",
    ),
    "missing mirror": (
        own() | {"mirror": "lost"},
        f"my.yaml: mirror is 'lost', which is no folder {HERE}",
    ),
    "wrong kind": (
        own(kind="cell"),
        "my.yaml: datasets.m.kind is 'cell', but must be one of cells, images",
    ),
    "misspelt data set in an experiment": (
        own() | {"experiments": {"tuning": {}, "cells": {"datasets": ["mm"]}}},
        "my.yaml: experiments.cells.datasets names 'mm', which is not under datasets; did you mean "
        "'m'?",
    ),
    "images for cells": (
        own() | {"experiments": {"image_clustering": {"datasets": ["m"]}}},
        "my.yaml: experiments.image_clustering.datasets names 'm', a set of cells; it needs images",
    ),
    "a key twice": (
        "run: x\ndatasets: {digits: }\nrun: y\n",
        "my.yaml: the key 'run' stands twice in the same place (lines 1 and 3); remove one",
    ),
    "text for a number": (
        own(batch_size="big"),
        "my.yaml: datasets.m.batch_size is 'big', but must be a whole number or null",
    ),
}


@pytest.mark.parametrize(("config", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_wrong_configuration(project, config, sentence):
    """The sentence is all that is said."""
    (project.folder / "x.h5ad").touch()
    done = project.snakemake("--cores", "1", configfile=project.configure(config))
    assert done.status != 0
    assert done.said == [sentence.format(folder=project.folder)]
    assert not (project.folder / "results").exists()


def test_a_wrong_setting_on_the_command_line(project):
    name = project.configure({"run": "x", "datasets": {"digits": None}})
    done = project.snakemake("-n", "--cores", "1", "--config", "trials=no", configfile=name)
    assert done.status != 0
    assert done.said == ["my.yaml: trials is 'no', but must be a whole number"]


def test_what_is_in_the_place_of_the_results(project):
    """A file, or a link to a disk that is not there; Snakemake would end in a traceback."""
    name = project.configure({"run": "x", "datasets": {"digits": None}})
    results = project.folder / "results"
    results.symlink_to("/lost/results")
    lost = project.snakemake("-n", configfile=name)
    results.unlink()
    results.mkdir()
    (results / "x").touch()
    taken = project.snakemake("--cores", "1", configfile=name)
    advice = ", where the results go: move it away, or start in another folder (snakemake "
    advice += "--directory DIR)"
    assert lost.said == [f"{results} is a link to /lost/results, which is no folder{advice}"]
    assert taken.said == [f"{results / 'x'} is a file{advice}"]
    assert lost.status and taken.status and [*results.iterdir()] == [results / "x"]


def test_a_gpu_that_is_not_there(project, monkeypatch):
    """Told before anything runs here; what needs no GPU runs without, a dry run too."""
    monkeypatch.setitem(working_copy.ENVIRONMENT, "CUDA_VISIBLE_DEVICES", "")
    cells().write_h5ad(project.folder / "x.h5ad")
    name = project.configure(own() | {"device": "cuda", "n_components": 20})
    done = project.snakemake("--cores", "1", configfile=name)
    assert done.status != 0
    assert done.said[-1] == (
        "my.yaml: `device: cuda` asks for a GPU, but this PyTorch sees no GPU; use `device: auto` "
        "or `device: cpu`, or run where an NVIDIA GPU and a CUDA build of PyTorch are"
    )
    assert "Traceback" not in done.text and project.results() == []
    assert project.snakemake("-n", configfile=name).status == 0
    target = "results/x/data/m.npz"
    assert project.snakemake("--cores", "1", target, configfile=name).status == 0


# -------------------------------------------------------------------------------------- the data


def cells(change=None) -> anndata.AnnData:
    """Return 40 cells × 12 genes of two donors and two types, changed as told."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "donor": np.where(np.arange(40) % 2, "first", "second"),
            "cell_type": np.where(np.arange(40) < 20, "T", "B"),
        },
        index=[f"cell{i}" for i in range(40)],
    )
    var = pd.DataFrame(index=[f"gene{g}" for g in range(12)])
    data = anndata.AnnData(rng.poisson(5, (40, 12)).astype(np.float32), obs=obs, var=var)
    if change is not None:
        change(data)
    return data


def value(number: float):
    def change(data):
        data.X[3, 2] = number

    return change


def logarithms(data):
    data.X = np.log1p(data.X)


def no_counts(data):
    data.X[:2] = 0


def no_label(data):
    data.obs["cell_type"] = pd.Series(["T"] * 39 + [None], index=data.obs_names, dtype=object)


def one_label(data):
    data.obs["cell_type"] = "T"


FILES = {
    "nan": (value(np.nan), {}),
    "negative": (value(-1), {}),
    "logarithms": (logarithms, {}),
    "unlabelled": (no_label, {}),
    "one_label": (one_label, {}),
    "no_batches": (None, {"batch_key": "batch"}),
    "no_labels": (None, {"label_key": "celltype"}),
    "no_layer": (None, {"layer": "counts"}),
    "not_h5ad": ("text", {}),
}
SENTENCES = {
    "nan": "data set 'nan': counts in X of nan.h5ad have missing or infinite values (first: nan at "
    "cell 3, 'cell3', gene 'gene2'; 1 in all); give raw counts.",
    "negative": "data set 'negative': counts in X of negative.h5ad have negative values (first: -1 "
    "at cell 3, 'cell3', gene 'gene2'; 1 in all); give raw counts, not scaled ones.",
    "logarithms": "data set 'logarithms': counts in X of logarithms.h5ad are not integers (first: ",
    "unlabelled": "data set 'unlabelled': column 'cell_type' of unlabelled.h5ad (`label_key:`) has "
    "the same value, T, for every cell that has one; nothing can be scored without at least 2 cell "
    "types.",
    "one_label": "data set 'one_label': column 'cell_type' of one_label.h5ad (`label_key:`) has "
    "the same value, T, for every cell; nothing can be scored without at least 2 cell types.",
    "no_batches": "data set 'no_batches': no_batches.h5ad has no column 'batch' for `batch_key:`; "
    "its columns are donor, cell_type.",
    "no_labels": "data set 'no_labels': no_labels.h5ad has no column 'celltype' for `label_key:`; "
    "its columns are donor, cell_type.",
    "no_layer": "data set 'no_layer': no_layer.h5ad has no layer 'counts'",
    "not_h5ad": "data set 'not_h5ad': not_h5ad.h5ad is not",
}


def test_too_few_cells_are_told_before_anything_runs(project):
    """All that is said, in a dry run too."""
    cells()[:5].copy().write_h5ad(project.folder / "x.h5ad")
    for arguments in (["-n"], ["--cores", "1"]):
        done = project.snakemake(*arguments, configfile=project.configure(own()))
        assert done.status != 0
        assert done.said == [
            "my.yaml: n_components is 100, but m (x.h5ad, 5 cells) has only 4 training rows to "
            "start the components from; use at most 4"
        ]
    assert not (project.folder / "results").exists()


@pytest.fixture(scope="module")
def refused(tmp_path_factory):
    """Return the run of a configuration with every bad data set, and its project."""
    project = Project(tmp_path_factory.mktemp("refused") / "project")
    config = {"run": "x", "trials": 1, "n_components": 20, "datasets": {}}
    for name, (change, settings) in FILES.items():
        path = project.folder / f"{name}.h5ad"
        if change == "text":
            path.write_text("no HDF5 at all")
        else:
            cells(change).write_h5ad(path)
        config["datasets"][name] = OWN | {"path": path.name} | settings
    done = project.snakemake("--cores", "1", configfile=project.configure(config))
    return project, done


@pytest.mark.parametrize("name", FILES)
def test_bad_data_are_refused_in_a_sentence(refused, name):
    """It stands in the terminal once, and in the job's log alone."""
    project, done = refused
    assert done.status != 0
    about = [line for line in done.said if line.startswith(f"data set '{name}'")]
    assert len(about) == 1
    assert about[0].startswith(SENTENCES[name])
    log = project.folder / "results" / "x" / "logs" / "prepare" / f"{name}.log"
    assert log.read_text() == about[0] + "\n"


def test_bad_data_leave_nothing_behind(refused):
    project, done = refused
    assert "Traceback" not in done.text
    assert project.results() == []
    assert "rule train" not in done.text and "rule tune" not in done.text


def test_a_bad_data_set_stops_only_what_depends_on_it(project):
    """And more pseudo-inputs than training cells, once those without counts are left out."""
    cells(no_counts).write_h5ad(project.folder / "x.h5ad")
    cells(value(np.nan)).write_h5ad(project.folder / "nan.h5ad")
    given = {"batch_size": 16, "prior_learning_ratio": 5}
    sets = {"nan": OWN | {"path": "nan.h5ad"} | given, "good": OWN | given}
    experiments = {"cells": {"methods": ["vmm"], "baselines": [], "controls": []}}
    name = project.configure(
        {"run": "x", "trials": 1, "n_components": 36, "datasets": sets, "experiments": experiments}
    )
    done = project.snakemake("--cores", "1", configfile=name)
    assert done.status != 0
    assert SENTENCES["nan"] in done.said
    sentence = (
        "n_components is 36, but good has only 34 training rows to start the components from; "
        "use at most 34"
    )
    assert done.said.count(sentence) == 1
    assert "Traceback" not in done.text and "rule train" not in done.text
    assert project.results() == ["x/data/good.json", "x/data/good.npz"]


def test_another_content_of_the_users_file_is_read_anew(project):
    """Nothing of the old one is used; a bad one is refused."""
    path, target = project.folder / "x.h5ad", "results/x/data/m.npz"
    name = project.configure(own() | {"n_components": 20})
    description = project.folder / "results" / "x" / "data" / "m.json"
    cells().write_h5ad(path)
    assert project.snakemake("--cores", "1", target, configfile=name).status == 0
    assert json.loads(description.read_text())["n_cells"] == 40
    cells(value(0.5)).write_h5ad(path)
    done = project.snakemake("--cores", "1", target, configfile=name)
    assert done.status != 0 and "are not integers (first: 0.5 at cell 3, 'cell3'" in done.text
    assert project.results() == []
    cells()[:30].copy().write_h5ad(path)
    assert project.snakemake("--cores", "1", target, configfile=name).status == 0
    assert json.loads(description.read_text())["n_cells"] == 30
