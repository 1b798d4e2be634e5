"""The command line: what it writes, and what it says to bad input."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import vmm
import vmm.cli.fit
from vmm.cli import in_options, main, parser
from vmm.cli.page import command

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
    path = tmp_path_factory.mktemp("cli") / "lines.h5ad"
    adata.write_h5ad(path)
    return path


def test_fit_writes_everything(cells, tmp_path, capsys):
    folder = tmp_path / "out"
    arguments = ["fit", str(cells), "--layer", "counts", "--batch-key", "batch", "--label-key"]
    arguments += ["cell_type", "--n-top-genes", "80", "--output", str(folder), *SMALL]
    arguments += ["--precision", "bf16", "--cuda-graph"]
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
    assert set(table["label"]) <= {*before.obs["cell_type"].dropna(), "not labelled"}
    stems = {path.name for path in (folder / "figures").iterdir() if path.suffix == ".pdf"}
    assert stems == {
        f"{name}.pdf" for name in ("clusters", "batches", "labels", "composition", "training")
    }
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 5 and "{{" not in page
    assert "trained on 80 of 150 genes" in page and "--n-top-genes 80" in page

    model = vmm.SCVI.load(str(folder / "model"), adata=False)
    assert model.cluster_names[0] == "0" and model.get_prior_parameters()["means"].shape == (8, 4)
    drawn = model.sample_cluster("0", 3, batch="sc_10x", library_size=1000)
    assert drawn.shape == (3, 80)

    assert main(arguments) == 2
    assert "has files; name another --output, or add --overwrite." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "are not integers"),
        (["--layer", "umis"], "has no layer 'umis' for --layer; its layers are counts"),
        (["--layer", "counts", "--batch-key", "donor"], "no column 'donor' for --batch-key"),
        (["--layer", "counts", "--label-key", "type"], "no column 'type' for --label-key"),
        (
            ["--layer", "counts", "--n-components", "300"],
            "has 270 cells to train on, fewer than --n-components 300; use at most 270",
        ),
    ],
)
def test_bad_input_gets_one_sentence(cells, tmp_path, capsys, options, message):
    assert main(["fit", str(cells), "--output", str(tmp_path / "out"), *options]) == 2
    reading, told = capsys.readouterr().err.strip().split("\n")
    assert reading.startswith("Reading") and told.startswith("vmm: ") and message in told
    assert "Traceback" not in told and "`" not in told and not (tmp_path / "out").exists()


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
    assert "this PyTorch sees no GPU; use 'auto' or --device cpu" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--n-latent", "0"], ["--learning-rate", "fast"]])
def test_bad_numbers(words, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "x.h5ad", "-o", "out", *words])
    assert stop.value.code == 2 and f"argument {words[0]}" in capsys.readouterr().err


def test_keys_become_options():
    assert in_options("set `n_top_genes: null` to") == "set --n-top-genes 0 to"
    assert in_options("for `layer:`; or `layer: raw`") == "for --layer; or --layer raw"


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


@pytest.mark.parametrize("words", [[], ["--cuda-graph"]])
def test_the_command_on_the_page_is_one_that_runs(words):
    """Pasted, it gives the same options: a switch has no value."""
    given = ["fit", "my cells.h5ad", "--output", "out", "--batch-key", "donor", *words]
    options = parser().parse_args(given)
    pasted = parser().parse_args(shlex.split(command(options))[1:])
    assert vars(pasted) == vars(options)


def test_a_path_with_a_tilde_that_the_shell_left(cells, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(cells, tmp_path / "my.h5ad")
    given = ["fit", "~/my.h5ad", "--layer", "counts", "--output", str(tmp_path / "out"), *SMALL]
    assert main([*given, "--max-epochs", "2"]) == 0
    assert (tmp_path / "out" / "my_vmm.h5ad").exists()


def test_the_model_is_kept_whatever_fails_after_the_training(cells, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(vmm.cli.fit, "draw", fail)
    folder = tmp_path / "out"
    given = ["fit", str(cells), "--layer", "counts", "--output", str(folder), *SMALL]
    assert main([*given, "--max-epochs", "2"]) == 2
    assert vmm.SCVI.load(str(folder / "model"), adata=False).is_trained
