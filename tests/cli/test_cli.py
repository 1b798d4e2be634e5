"""The command line: what it writes, and what it says to bad input."""

from __future__ import annotations

import html
import os
import re
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from room import room_for

import vmm
import vmm.cli.fit
import vmm.data.anndata_parts
import vmm.data.blocks
import vmm.scvi.plots
from vmm.cli import main
from vmm.cli.words import in_options
from vmm.training.choice import Tuning

SMALL = ["--max-epochs", "15", "--n-hidden", "16", "--n-latent", "4", "--n-components", "8"]
SMALL += ["--learning-rate", "3e-3"]


@pytest.fixture(scope="module")
def cells(tmp_path_factory, shared_data) -> Path:
    """Return a file with 300 cells of three cell lines, log-normalised X and a layer of counts."""
    adata = anndata.read_h5ad(shared_data / "cells" / "mixology_3protocols_3lines.h5ad")
    adata = adata[::4, :150][:300].copy()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.astype(np.float32).log1p()
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(object)
    adata.obs.iloc[0, adata.obs.columns.get_loc("cell_type")] = None
    adata.obs["total"] = np.arange(adata.n_obs) + 0.25  # another value in each cell
    path = tmp_path_factory.mktemp("cli") / "lines.h5ad"
    adata.write_h5ad(path)
    return path


def test_fit_writes_everything(cells, tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = ["fit", str(cells), "--layer", "counts", "--batch-key", "batch", "--label-key"]
    arguments += ["cell_type", "--n-top-genes", "80", "--output", str(folder), *SMALL]
    arguments += ["--precision", "bf16", "--no-cuda-graph", "--sleep-below", "0.1"]
    assert main(arguments) == 0
    told = capsys.readouterr().err
    assert "Training on 300 cells × 80 genes" in told and "open " in told
    result, before = anndata.read_h5ad(folder / "lines_vmm.h5ad"), anndata.read_h5ad(cells)
    assert result.shape == before.shape and (result.X != before.X).nnz == 0
    assert result.obsm["X_vmm"].shape == (300, 4) and result.obsm["X_vmm_mde"].shape == (300, 2)
    assert result.obs["vmm_probability"].between(1 / 8, 1).all()
    table = pd.read_csv(folder / "clusters.csv", dtype={"cluster": str})
    sizes = result.obs["vmm_cluster"].value_counts()
    assert dict(zip(table["cluster"], table["n_cells"], strict=True)) == sizes.to_dict()
    assert set(table["label"]) <= {*before.obs["cell_type"].dropna()}
    assert table["n_labelled"].sum() == 299
    each = pd.read_csv(folder / "cells.csv", dtype={"cluster": str})
    assert each["cell"].tolist() == list(before.obs_names)
    assert each["cluster"].tolist() == result.obs["vmm_cluster"].tolist()
    stems = {path.name for path in (folder / "figures").iterdir() if path.suffix == ".pdf"}
    assert stems == {
        f"{name}.pdf" for name in ("clusters", "batches", "labels", "composition", "training")
    }
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 4 and "{{" not in page
    assert "Trained on 80 of 150 genes" in page and "--n-top-genes 80" in page
    assert "299 of 300 cells have a label in cell_type." in page

    model = vmm.SCVI.load(str(folder / "model"), adata=False)
    assert model.cluster_names[0] == "0" and model.get_prior_parameters()["means"].shape == (8, 4)
    drawn = model.sample_cluster("0", 3, batch="sc_10x", library_size=1000)
    assert drawn.shape == (3, 80)

    assert main(arguments) == 2
    assert "has files; name another --output, or add --overwrite." in capsys.readouterr().err


def test_fit_with_covariates(cells, tmp_path):
    """The model is told of them, and the page how to tell it again."""
    adata = anndata.read_h5ad(cells)
    adata.obs["sex"], adata.obs["plate"] = ["f", "m", "m"] * 100, [1, 2] * 150
    adata.obs["age"], adata.obs["size"] = np.linspace(-1, 1, 300), np.linspace(0.5, 2, 300)
    adata.write_h5ad(tmp_path / "informed.h5ad")
    folder = tmp_path / "out"
    told = [
        "--categorical-covariate-key sex", "--categorical-covariate-key plate",
        "--continuous-covariate-key age", "--size-factor-key size", "--likelihood nb",
        "--dispersion gene-batch", "--no-encode-covariates",
    ]  # fmt: skip
    arguments = ["fit", str(tmp_path / "informed.h5ad"), "--layer", "counts", "-o", str(folder)]
    arguments += ["--batch-key", "batch", "--label-key", "cell_type", *SMALL]
    assert main([*arguments, "--max-epochs", "2", *" ".join(told).split()]) == 0
    page = (folder / "report.html").read_text()
    assert all(option in page for option in told)
    model = vmm.SCVI.load(str(folder / "model"), adata=False)
    networks = model.module.networks
    assert (networks.n_categories, networks.n_continuous) == ((2, 2), 1)
    assert networks.size_factors and not networks.encode_covariates
    assert networks.log_inverse_dispersion.shape == (networks.n_batches, networks.n_genes)
    chosen = {"sex": "m", "plate": "2", "age": 0.5}
    drawn = model.sample_cluster("0", 3, batch="sc_10x", library_size=1, covariates=chosen)
    assert drawn.obs["plate"].tolist() == ["2"] * 3


def test_ended_by_a_queue(cells, tmp_path, monkeypatch):
    """What was half-written goes, and the signal means again what it did."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(vmm.cli.fit, "train", lambda *_: signal.raise_signal(signal.SIGTERM))
    arguments = ["fit", str(cells), "--layer", "counts", "--output", str(tmp_path / "out"), *SMALL]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 143 and not (tmp_path / "out").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_seeds(cells, tmp_path):
    """Columns, figures and words; without the option they go from the folder."""
    folder = tmp_path / "out"
    arguments = ["fit", str(cells), "--layer", "counts", "--output", str(folder), *SMALL]
    arguments += ["--n-top-genes", "40"]
    assert main([*arguments, "--seeds", "2"]) == 0
    result = anndata.read_h5ad(folder / "lines_vmm.h5ad").obs
    each = pd.read_csv(folder / "cells.csv", dtype={"cluster": str, "consensus": str})
    assert each["stays"].isin([0, 0.5, 1]).all() and each["unsure"].dtype == bool
    for key in ("stays", "consensus", "unsure"):
        assert each[key].tolist() == result[f"vmm_{key}"].tolist()
    table = pd.read_csv(folder / "clusters.csv", dtype={"cluster": str}).set_index("cluster")
    by_cluster = each.groupby("cluster")["stays"].mean().to_dict()
    assert table["stays"].to_dict() == pytest.approx(by_cluster)
    assert table["n_unsure"].sum() == each["unsure"].sum()
    assert set(table["verdict"]) <= {"stable", "doubtful", "unstable"}
    seeds = pd.read_csv(folder / "seeds.csv", index_col="seed")
    assert seeds.index.tolist() == [0, 1, 2] and seeds.loc[1, "ari_with_1"] == 1
    assert {"consensus.pdf", "stays.png"} <= {path.name for path in (folder / "figures").iterdir()}
    page = (folder / "report.html").read_text()
    assert "Which clusters other seeds find too" in page and "--seeds 2" in page
    assert page.count("data:image/png;base64,") == 4

    assert main([*arguments, "--overwrite"]) == 0
    assert not (folder / "seeds.csv").exists() and not list(folder.glob("figures/stays.*"))
    assert "vmm_stays" not in anndata.read_h5ad(folder / "lines_vmm.h5ad").obs
    assert "other seeds find" not in (folder / "report.html").read_text()


def test_tuned_without_labels(cells, tmp_path, monkeypatch):
    """What was chosen is trained with, told, and in the command of the page."""
    seen = []

    def tune(cls, adata, **given):
        seen.append(given)
        table = pd.DataFrame({"batch_size": [64], "prior_learning_ratio": [2.5]})
        return Tuning(64, 2.5, "Because.", table)

    monkeypatch.setattr(vmm.SCVI, "tune", classmethod(tune))
    folder = tmp_path / "out"
    arguments = ["fit", str(cells), "--layer", "counts", "--output", str(folder), *SMALL]
    assert main([*arguments, "--n-top-genes", "40", "--tune"]) == 0
    assert seen[0]["n_hidden"] == 16 and seen[0]["max_epochs"] == 15
    model = vmm.SCVI.load(str(folder / "model"), adata=False)
    settings = model.training_settings_
    assert (settings["batch_size"], settings["prior_learning_ratio"]) == (64, 2.5)
    assert pd.read_csv(folder / "tuning.csv").values.tolist() == [[64, 2.5]]
    page = (folder / "report.html").read_text()
    assert "Chosen without labels (tuning.csv). Because." in page
    assert "--batch-size 64" in page and "--tune" not in page
    assert main([*arguments, "--n-top-genes", "40", "--overwrite"]) == 0
    assert not (folder / "tuning.csv").exists()


def test_other_seeds_interrupted(cells, tmp_path, monkeypatch):
    """All else is written: the training before is complete."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("vmm.scvi.stability.fit_all", interrupt)
    folder = tmp_path / "out"
    arguments = ["fit", str(cells), "--layer", "counts", "--output", str(folder), *SMALL]
    assert main([*arguments, "--n-top-genes", "40", "--seeds", "2"]) == 0
    assert "The trainings with other seeds were interrupted" in (folder / "report.html").read_text()
    assert "vmm_cluster" in anndata.read_h5ad(folder / "lines_vmm.h5ad").obs


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "are not integers"),
        (["--layer", "umis"], "has no layer 'umis' for --layer; its layers are counts"),
        (["--layer", "counts", "--batch-key", "donor"], "no column 'donor' for --batch-key"),
        (["--layer", "counts", "--label-key", "type"], "no column 'type' for --label-key"),
        (
            ["--layer", "counts", "--categorical-covariate-key", "sex"],
            "no column 'sex' for --categorical-covariate-key; its columns are",
        ),
        (
            ["--layer", "counts", "--continuous-covariate-key", "batch"],
            "column 'batch' of",
        ),
        (
            ["--layer", "counts", "--batch-key", "batch", "--categorical-covariate-key", "batch"],
            "--batch-key and --categorical-covariate-key both name the column 'batch' of",
        ),
        (
            ["--layer", "counts", "--n-components", "300"],
            "has 270 cells to train on, fewer than --n-components 300; use at most 270",
        ),
        (["--layer", "counts", "--label-key", "total"], "those are names of cells; name a column"),
    ],
)
def test_bad_input_gets_one_sentence(cells, tmp_path, capsys, options, message):
    assert main(["fit", str(cells), "--output", str(tmp_path / "out"), *options]) == 2
    reading, told = capsys.readouterr().err.strip().split("\n")
    assert reading.startswith("Reading") and told.startswith("vmm: ") and message in told
    assert "Traceback" not in told and "`" not in told and not (tmp_path / "out").exists()


def test_poisson_has_no_dispersion(cells, tmp_path, capsys):
    """Told before anything is read."""
    options = ["--likelihood", "poisson", "--dispersion", "gene-batch"]
    assert main(["fit", str(cells), "--output", str(tmp_path / "out"), *options]) == 2
    told = "dispersion is 'gene-batch', but the Poisson distribution has none; leave it out.\n"
    assert capsys.readouterr().err == f"vmm: {told}"


def test_missing_or_foreign_files(tmp_path, capsys):
    assert main(["fit", str(tmp_path / "no.h5ad"), "-o", str(tmp_path / "out")]) == 2
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "text.h5ad").write_text("not HDF5")
    assert main(["fit", str(tmp_path / "text.h5ad"), "-o", str(tmp_path / "out")]) == 2
    assert "is not an .h5ad file" in capsys.readouterr().err


def test_places_that_cannot_be_written(cells, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    arguments = ["fit", str(cells), "--layer", "counts", "--n-components", "8", "--output"]
    assert main([*arguments, str(tmp_path / "file")]) == 2
    assert "is a file; --output must name a folder" in capsys.readouterr().err
    assert main([*arguments, str(tmp_path / "file" / "out")]) == 2
    assert capsys.readouterr().err.endswith("Not a directory.\n")


def test_no_gpu(cells, tmp_path, capsys, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["fit", str(cells), "--device", "gpu", "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vmm: --device gpu asks for a GPU, but this PyTorch sees no GPU; use ")
    assert "; use --device auto or --device cpu, or run where" in said


@pytest.mark.parametrize("words", [["--n-latent", "0"], ["--learning-rate", "fast"]])
def test_bad_numbers(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "x.h5ad", "-o", "out", *words])
    assert stop.value.code == 2 and f"argument {words[0]}" in capsys.readouterr().err


def test_keys_become_options():
    assert in_options("set `n_top_genes: null` to") == "set --n-top-genes 0 to"
    assert in_options("for `layer:`; or `layer: raw`") == "for --layer; or --layer raw"
    assert in_options("`layer: null`") == "--layer null"
    assert in_options("(`categorical_covariate_keys:`)") == "(--categorical-covariate-key)"
    assert in_options("give `layer: my counts`, or") == "give --layer 'my counts', or"
    assert in_options("`layer: -x`") == "--layer=-x"


def test_cite_and_help_need_no_library():
    """They answer at once: without torch, which takes seconds to import."""
    code = (
        "import sys; from vmm.cli import main; main(['cite']); main([]);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'scvi', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "arXiv:2402.04412" in done.stdout and "@misc" in done.stdout
    assert "vmm fit my.h5ad --batch-key donor" in done.stdout


def test_a_path_with_a_tilde_that_the_shell_left(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(cells, tmp_path / "my.h5ad")
    given = ["fit", "~/my.h5ad", "--layer", "counts", "--output", "~/out", *SMALL]
    assert main([*given, "--max-epochs", "2"]) == 0
    assert (tmp_path / "out" / "my_vmm.h5ad").exists()


def test_the_model_is_kept_whatever_fails_after_the_training(cells, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vmm.cli.fit, "draw", fail)
    folder = tmp_path / "out"
    given = ["fit", str(cells), "--layer", "counts", "--output", str(folder), *SMALL]
    assert main([*given, "--max-epochs", "2"]) == 2
    assert vmm.SCVI.load(str(folder / "model"), adata=False).is_trained
    assert "vmm_cluster" in anndata.read_h5ad(folder / "lines_vmm.h5ad").obs
    told = capsys.readouterr().err
    load = re.search(r"The trained model is kept: (vmm\.SCVI\.load\(.*\))", told)[1]
    assert eval(load, {"vmm": vmm}).is_trained


def quick(cells: Path, folder: Path, *options: str) -> list[str]:
    """Return a command line that trains for two epochs."""
    return ["fit", str(cells), "--output", str(folder), *SMALL, "--max-epochs", "2", *options]


def test_interrupted_after_the_training(cells, tmp_path, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(vmm.cli.fit, "draw", interrupt)
    assert main(quick(cells, tmp_path / "out", "--layer", "counts")) == 130
    assert capsys.readouterr().err.endswith("vmm: interrupted.\n")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "model", "cells.csv", "lines_vmm.h5ad"
    }  # fmt: skip


def test_a_figure_that_cannot_be_drawn_is_named(cells, tmp_path, monkeypatch, capsys):
    def fail(*_):
        raise ValueError("too round")

    monkeypatch.setattr(vmm.SCVI, "plot_training", fail)
    folder = tmp_path / "out"
    assert main(quick(cells, folder, "--layer", "counts", "--batch-key", "batch")) == 0
    said = "The figure of training could not be drawn: too round."
    assert said in capsys.readouterr().err and said in (folder / "report.html").read_text()
    assert {path.stem for path in (folder / "figures").iterdir()} == {"clusters", "batches"}


def test_a_file_saved_anew_during_the_training(cells, tmp_path, monkeypatch, capsys):
    """Clusters stand beside the cells that were read, and the exit status says that it changed."""
    path = Path(shutil.copy(cells, tmp_path / "my.h5ad"))
    before = anndata.read_h5ad(path)
    train = vmm.cli.fit.train

    def train_and_swap(*arguments):
        before[::-1].copy().write_h5ad(tmp_path / "other.h5ad")
        os.replace(tmp_path / "other.h5ad", path)
        return train(*arguments)

    monkeypatch.setattr(vmm.cli.fit, "train", train_and_swap)
    folder = tmp_path / "out"
    assert main(quick(path, folder, "--layer", "counts")) == 1
    said = "my.h5ad was changed or replaced meanwhile: my_vmm.h5ad and all else is of what it was"
    assert said in capsys.readouterr().err and said in (folder / "report.html").read_text()
    after = anndata.read_h5ad(folder / "my_vmm.h5ad")
    assert list(after.obs_names) == list(before.obs_names)
    again = quick(cells, tmp_path / "again", "--layer", "counts")
    monkeypatch.undo()
    assert main(again) == 0
    expected = anndata.read_h5ad(tmp_path / "again" / "lines_vmm.h5ad")
    assert after.obs["vmm_cluster"].tolist() == expected.obs["vmm_cluster"].tolist()


def test_what_a_killed_process_left_is_no_file_of_anybody(cells, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / ".lines_vmm-abcdefgh.h5ad").write_text("half")
    assert main(quick(cells, folder, "--layer", "counts")) == 0
    assert not list(folder.glob(".*"))


def test_figures_of_options_that_are_no_longer_given_go(cells, tmp_path):
    folder = tmp_path / "out"
    assert main(quick(cells, folder, "--layer", "counts", "--batch-key", "batch")) == 0
    (folder / "figures" / "mine.pdf").write_text("mine")
    assert main(quick(cells, folder, "--layer", "counts", "--overwrite")) == 0
    assert {path.stem for path in (folder / "figures").iterdir()} == {
        "clusters", "training", "mine"
    }  # fmt: skip


def test_corrected_counts_are_rounded_if_asked_for(cells, tmp_path, capsys):
    adata = anndata.read_h5ad(cells)
    adata.X = adata.layers["counts"] * np.float32(0.93)
    del adata.layers["counts"]
    path = tmp_path / "soup.h5ad"
    adata.write_h5ad(path)
    given = quick(path, tmp_path / "out")
    assert main(given) == 2
    told = capsys.readouterr().err
    assert told.endswith("may be rounded to the nearest whole number by --round.\n")
    assert main([*given, "--round"]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "were rounded to the nearest whole number: " in page and "--round" in page
    result = anndata.read_h5ad(tmp_path / "out" / "soup_vmm.h5ad")
    assert (result.X != adata.X).nnz == 0


# ------------------------------------------------------------------------------------ many cells


def test_pictures_of_more_cells_are_of_a_sample_and_the_page_says_so(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(vmm.scvi.plots, "LAID_OUT", 100)
    folder = tmp_path / "out"
    assert main(quick(cells, folder, "--layer", "counts", "--batch-key", "batch")) == 0
    page = (folder / "report.html").read_text()
    assert "Pictures of cells are of 100 of 300 cells, a sample in which every batch and" in page
    result = anndata.read_h5ad(folder / "lines_vmm.h5ad")
    drawn = np.isfinite(result.obsm["X_vmm_mde"]).all(1)
    assert drawn.sum() == 100 and result.obs["batch"][drawn].nunique() == 3
    assert {path.stem for path in (folder / "figures").iterdir()} >= {"clusters", "batches"}
    monkeypatch.setattr(vmm.scvi.plots, "LAID_OUT", 300)
    assert main(quick(cells, folder, "--layer", "counts", "--overwrite")) == 0
    assert "Pictures of cells are of" not in (folder / "report.html").read_text()


def test_counts_beyond_the_memory(cells, tmp_path, monkeypatch, caplog):
    """They are read in blocks, chosen into files, trained on from disk: the same to the bit."""
    options = ("--layer", "counts", "--n-top-genes", "80")
    for name in ("memory", "disk"):
        assert main(quick(cells, tmp_path / name, *options)) == 0
        monkeypatch.setattr(vmm.data.anndata_parts, "LARGE", 0)
        monkeypatch.setattr(vmm.data.blocks, "VALUES", 2000)
        room_for(monkeypatch, "disk")
    assert "Counts stay on disk" in caplog.text
    whole, parts = (anndata.read_h5ad(tmp_path / n / "lines_vmm.h5ad") for n in ("memory", "disk"))
    for key in ("X_vmm", "X_vmm_mde"):
        np.testing.assert_array_equal(whole.obsm[key], parts.obsm[key])
    pd.testing.assert_frame_equal(whole.obs, parts.obs)
    page = (tmp_path / "disk" / "report.html").read_text()
    assert "Markers were not looked for: to compare clusters takes 0.0 GB beside the coun" in page
    tables = [pd.read_csv(tmp_path / name / "clusters.csv") for name in ("memory", "disk")]
    pd.testing.assert_frame_equal(tables[0].drop(columns="markers"), tables[1])


# ---------------------------------------------------------------------------- cells without labels


LABELS = {
    "none at all": (lambda types: [np.nan] * len(types), 0),
    "empty and nan as text": (lambda types: ["", "nan"] * (len(types) // 2), 0),
    "one cell": (lambda types: ["T"] + [None] * (len(types) - 1), 1),
    "all cells": (lambda types: ["T"] * len(types), 300),
    "numbers, some missing": (lambda types: [7.0, np.nan] * (len(types) // 2), 150),
}


@pytest.mark.parametrize(("labels", "n"), LABELS.values(), ids=LABELS.keys())
def test_cells_without_labels_are_counted_and_given_none(labels, n, cells, tmp_path, capsys):
    adata = anndata.read_h5ad(cells)
    adata.obs["known"] = labels(adata.obs["cell_type"])
    adata.write_h5ad(tmp_path / "my.h5ad")
    folder = tmp_path / "out"
    given = quick(tmp_path / "my.h5ad", folder, "--layer", "counts", "--label-key", "known")
    assert main(given) == 0
    table = pd.read_csv(folder / "clusters.csv", keep_default_na=False, dtype={"label": str})
    assert table["n_labelled"].sum() == n
    assert (table["label"][table["n_labelled"] == 0] == "").all()
    assert set(table["label"]) - {""} <= {"T", "7"}
    stems = {path.stem for path in (folder / "figures").iterdir()}
    assert ({"labels", "composition"} <= stems) == (n > 0)
    page = (folder / "report.html").read_text()
    assert (f"{n} of 300 cells have a label in known." in page) == (n < 300)


def test_a_cluster_without_labels_has_none(cells, tmp_path):
    """Of whichever cluster a cell of the other two kinds is: only one kind has labels."""
    adata = anndata.read_h5ad(cells)
    known = adata.obs["cell_type"] == "H1975"
    assert 0 < known.sum() < 200
    adata.obs["known"] = adata.obs["cell_type"].astype(object).where(known, None)
    adata.write_h5ad(tmp_path / "my.h5ad")
    given = ["fit", str(tmp_path / "my.h5ad"), "--layer", "counts", "--label-key", "known"]
    assert main([*given, "--output", str(tmp_path / "out"), *SMALL]) == 0
    table = pd.read_csv(tmp_path / "out" / "clusters.csv", keep_default_na=False)
    result = anndata.read_h5ad(tmp_path / "out" / "my_vmm.h5ad").obs
    counted = result.groupby("vmm_cluster", observed=True)["known"].count()
    assert table["n_labelled"].tolist() == counted.tolist()
    assert ((table["label"] == "H1975") == (table["n_labelled"] > 0)).all()


# --------------------------------------------------------------------------- how the training ended


def test_a_training_that_was_cut_is_told_as_such(cells, tmp_path, capsys):
    assert main(quick(cells, tmp_path / "cut", "--layer", "counts")) == 0
    said = "Training was cut at --max-epochs 2: "
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "cut" / "report.html").read_text()
    given = quick(cells, tmp_path / "done", "--layer", "counts")
    assert main([*given, "--max-epochs", "500", "--patience", "1"]) == 0
    assert "was cut" not in capsys.readouterr().err
    page = (tmp_path / "done" / "report.html").read_text()
    assert "Training ended by itself after" in page and "was cut" not in page


def test_a_mixture_without_a_component_left_is_told(cells, tmp_path, capsys):
    assert main(quick(cells, tmp_path / "out", "--layer", "counts", "--n-components", "2")) == 0
    said = "All of --n-components 2 have cells, so there might be more clusters; train again with"
    assert said in capsys.readouterr().err
    assert said in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["x.h5ad"], "vmm: the following arguments are required: --output/-o; see vmm fit --help."),
        (
            ["x.h5ad", "-o", "out", "--bach-key", "donor"],
            "vmm: unrecognized arguments: --bach-key donor; did you mean --batch-key?; "
            "see vmm fit --help.",
        ),
        (
            ["x.h5ad", "-o", "out", "--n-latent", "-3"],
            "vmm: argument --n-latent: '-3' is not a whole number of at least 1; "
            "see vmm fit --help.",
        ),
    ],
)
def test_a_mistaken_option_is_one_sentence(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as end:
        main(["fit", *arguments])
    assert end.value.code == 2
    assert capsys.readouterr().err == f"{sentence}\n"


def test_a_value_like_a_known_one_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        main(["fit", "x.h5ad", "-o", "out", "--prior", "vmmm"])
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "did you mean vmm?" in told


def test_a_modality(cells, tmp_path, capsys):
    """It gives what a file of its own gives; the result has it alone, as it was."""
    import mudata

    adata = anndata.read_h5ad(cells)
    adata.uns["of"] = "mine"
    lanes = adata.obs.pop("batch").rename("lane")
    prot = anndata.AnnData(adata.X[:, :5].copy(), obs=adata.obs[[]].iloc[::-1])
    prot.var_names = [f"CD{i}" for i in range(5)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = mudata.MuData({"gex": adata, "prot": prot})
        both.obs["lane"] = lanes.astype(str)
        both.write_h5mu(tmp_path / "both.h5mu")
    adata.obs["lane"] = lanes.astype(str)
    adata.write_h5ad(tmp_path / "alone.h5ad")
    arguments = ["--layer", "counts", "--batch-key", "lane", "--max-epochs", "1", *SMALL]
    chosen = ["--modality", "gex"]
    for path, more in (("both.h5mu", chosen), ("alone.h5ad", [])):
        output = ["--output", str(tmp_path / path.partition(".")[0])]
        assert main(["fit", str(tmp_path / path), *arguments, *more, *output]) == 0
    found, own = (anndata.read_h5ad(tmp_path / n / f"{n}_vmm.h5ad") for n in ("both", "alone"))
    np.testing.assert_array_equal(found.obsm["X_vmm"], own.obsm["X_vmm"])
    assert found.obs["vmm_cluster"].equals(own.obs["vmm_cluster"])
    assert (found.X != own.X).nnz == (found.layers["counts"] != own.layers["counts"]).nnz == 0
    assert found.uns["of"] == "mine" and "lane" not in found.obs
    page = (tmp_path / "both/report.html").read_text()
    assert f"of the modality 'gex' of {tmp_path}" in html.unescape(page)
    assert "--modality gex" in page
    light = [*arguments, *chosen, "--without-counts", "--output", str(tmp_path / "light")]
    assert main(["fit", str(tmp_path / "both.h5mu"), *light]) == 0
    found = anndata.read_h5ad(tmp_path / "light/both_vmm.h5ad")
    assert found.X is None and found.obsm["X_vmm"].shape == (300, 4)
    capsys.readouterr()
    for more, sentence in (
        ([], "has the modalities gex, prot; name the one with the counts by --modality."),
        (["--modality", "rna"], "has no modality 'rna' for --modality; its modalities are gex,"),
    ):
        output = ["--output", str(tmp_path / "none")]
        assert main(["fit", str(tmp_path / "both.h5mu"), *arguments, *more, *output]) == 2
        assert sentence in capsys.readouterr().err
        assert not (tmp_path / "none").exists()


def test_without_counts(cells, tmp_path):
    """What describes cells and genes is there, old and new, and no matrix."""
    folder = tmp_path / "out"
    arguments = ["fit", str(cells), "--layer", "counts", "--output", str(folder), *SMALL]
    assert main([*arguments, "--max-epochs", "1", "--without-counts"]) == 0
    before, after = anndata.read_h5ad(cells), anndata.read_h5ad(folder / "lines_vmm.h5ad")
    assert after.X is None and not after.layers and after.raw is None
    assert after.obs_names.equals(before.obs_names) and after.var_names.equals(before.var_names)
    assert {*before.obs, "vmm_cluster", "vmm_probability"} <= {*after.obs}
    assert {*before.obsm, "X_vmm", "X_vmm_mde"} == {*after.obsm}
    assert (folder / "lines_vmm.h5ad").stat().st_size < cells.stat().st_size
    page = (folder / "report.html").read_text()
    assert "--without-counts" in page


def test_a_zarr_store_read_in_blocks_gives_what_the_file_gives(
    cells, tmp_path, capsys, monkeypatch
):
    store = tmp_path / "lines.zarr"
    anndata.read_h5ad(cells).write_zarr(store)
    options = ["--layer", "counts", "--batch-key", "batch", "--n-top-genes", "80", *SMALL]
    found = {}
    for path in (cells, store):
        folder = tmp_path / path.suffix[1:]
        assert main(["fit", str(path), *options, "--output", str(folder)]) == 0
        found[path] = anndata.read_h5ad(folder / "lines_vmm.h5ad")
        monkeypatch.setattr("vmm.data.anndata_parts.LARGE", 0)
        monkeypatch.setattr("vmm.data.blocks.VALUES", 2000)
    assert "will have the results alone: obs and obsm" in capsys.readouterr().err
    alone, copy = found[store], found[cells]
    assert alone.X is None and list(alone.obs_names) == list(copy.obs_names)
    np.testing.assert_array_equal(alone.obsm["X_vmm"], copy.obsm["X_vmm"])
    assert alone.obs["vmm_cluster"].tolist() == copy.obs["vmm_cluster"].tolist()
