"""``vmm fit``: from an ``.h5ad`` file to embedding, clusters and a page."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vmm.data import checks, select
from vmm.data.h5ad import read_h5ad
from vmm.data.supplied import supplied
from vmm.errors import InputError
from vmm.io import atomic, remove_leftovers
from vmm.priors.records import PRIORS

if TYPE_CHECKING:
    import anndata
    import pandas as pd
    from matplotlib.figure import Figure

    from vmm.scvi import SCVI


@dataclass
class Cells:
    """What the model is trained on.

    Parameters
    ----------
    adata
        All cells × the chosen genes; ``X`` has the counts.
    n_genes
        Genes of the file.
    notes
        Facts worth a line on the page.
    """

    adata: anndata.AnnData
    n_genes: int
    notes: list[str]


def fit_file(options: argparse.Namespace) -> None:
    """Do what the options of ``vmm fit`` say; what is wrong is found before training.

    Raises
    ------
    InputError
        If anything about the file or the options is wrong.
    """
    path, folder = supplied(options.path, "name an .h5ad file"), Path(options.output)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --output must name a folder.")
    if folder.exists() and any(folder.iterdir()) and not options.overwrite:
        raise InputError(f"{folder} has files; name another --output, or add --overwrite.")
    if options.device == "gpu":
        _check_gpu()
    _say(f"Reading {path}")
    cells = read_cells(options)
    n_train = cells.adata.n_obs - max(1, round(0.1 * cells.adata.n_obs))
    if PRIORS[options.prior].starts_from_data and options.n_components > n_train:
        raise InputError(
            f"{path} has {n_train} cells to train on, fewer than --n-components "
            f"{options.n_components}; use at most {n_train}."
        )
    with _folder(folder):
        _say(f"Training on {cells.adata.n_obs:,} cells × {cells.adata.n_vars:,} genes")
        with warnings.catch_warnings():
            _only_our_warnings()
            model = train(cells.adata, options)
            write(model, cells, options)


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder and see that it can be written to, before hours of training.

    If the block fails before it wrote anything, the folder goes, unless it was there before.
    """
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        tempfile.TemporaryFile(dir=folder).close()
        yield
    except BaseException:
        if new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        raise


def _check_gpu() -> None:
    import torch

    if not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        raise InputError("--device is gpu, but this PyTorch sees no GPU; use auto or cpu.")


def read_cells(options: argparse.Namespace) -> Cells:
    """Read and check a file, and choose its most variable genes."""
    import anndata

    raw = read_h5ad(options.path, options.layer)
    names, notes = checks.unique_names(list(raw.obs.index), "cell")
    genes, more = checks.unique_names(list(raw.genes), "gene")
    batch, columns = np.zeros(len(names), dtype=np.int64), {}
    if options.batch_key is not None:
        batch, batch_names = checks.column(raw.obs, options.batch_key, "batch_key", raw.file)
        columns[options.batch_key] = [batch_names[code] for code in batch]
    if options.label_key is not None:
        if options.label_key not in raw.obs:
            checks.column(raw.obs, options.label_key, "label_key", raw.file)  # says what there is
        columns[options.label_key] = _labels(raw.obs[options.label_key])
    counts = checks.counts(raw.counts, raw.where, names, genes, raw.hint)
    checks.enough(counts, raw.where)
    if 0 < options.n_top_genes < counts.shape[1]:
        chosen, told = select.highly_variable(counts, batch, options.n_top_genes, raw.file)
        counts, genes, more = counts[:, chosen], genes[chosen], more + told
    adata = anndata.AnnData(counts.astype(np.float32))
    adata.obs_names, adata.var_names = names, genes
    for key, values in columns.items():
        adata.obs[key] = values
    return Cells(adata, len(raw.genes), [*notes, *more])


def _labels(column: pd.Series) -> pd.Series:
    return column.astype(object).where(column.notna(), "not labelled").astype(str).to_numpy()


def train(adata: anndata.AnnData, options: argparse.Namespace) -> SCVI:
    """Train the model that the options describe."""
    from vmm.scvi import SCVI

    SCVI.setup_anndata(adata, batch_key=options.batch_key, labels_key=options.label_key)
    model = SCVI(
        adata,
        prior=options.prior,
        n_hidden=options.n_hidden,
        n_latent=options.n_latent,
        n_layers=options.n_layers,
        gene_likelihood=options.likelihood,
        n_components=options.n_components,
        seed=options.seed,
        threads=options.threads,
    )
    model.train(
        max_epochs=options.max_epochs,
        accelerator=options.device,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        prior_learning_ratio=options.prior_learning_ratio,
        early_stopping_patience=options.patience,
        precision=options.precision,
        cuda_graph=options.cuda_graph,
    )
    return model


def write(model: SCVI, cells: Cells, options: argparse.Namespace) -> None:
    """Write the output folder."""
    import anndata

    from vmm.cli.page import write_page
    from vmm.plots.style import save

    path, folder = Path(options.path).expanduser(), Path(options.output)
    model.save(str(folder / "model"), overwrite=True)  # first: whatever fails now can be done again
    uncertainty = model.get_cluster_uncertainty()
    n_clusters = uncertainty["cluster"].nunique()
    _say(f"Describing {n_clusters} clusters")
    figures = draw(model, options)
    for name, figure in figures.items():
        save(figure, folder / "figures" / name)
    table = model.get_cluster_summary(n_markers=5 if n_clusters > 1 else 0)
    with atomic(folder / "clusters.csv") as temporary:
        table.to_csv(temporary)
    whole = anndata.read_h5ad(path)
    whole.obsm["X_vmm"] = model.get_latent_representation()
    whole.obsm["X_vmm_mde"] = model.adata.obsm["X_vmm_mde"]
    whole.obs["vmm_cluster"] = model.predict()
    whole.obs["vmm_probability"] = uncertainty["probability"].to_numpy()
    result = folder / f"{path.stem}_vmm.h5ad"
    remove_leftovers(folder, result.name)  # the large ones
    with atomic(result) as temporary:
        whole.write_h5ad(temporary)
    write_page(folder / "report.html", model, table, list(figures), cells, options)
    _say(f"{n_clusters} clusters; open {folder / 'report.html'}, go on with {result}")


def draw(model: SCVI, options: argparse.Namespace) -> dict[str, Figure]:
    """Draw the figures of the page."""
    figures = {"clusters": model.plot_cells()}
    if options.batch_key is not None:
        figures["batches"] = model.plot_cells(options.batch_key)
    if options.label_key is not None:
        figures["labels"] = model.plot_cells(options.label_key)
        figures["composition"] = model.plot_composition()
    return figures | {"training": model.plot_training()}


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _only_our_warnings() -> None:
    """Show what the user must know about the training, as plain lines, and nothing else."""
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", message="Training (was interrupted|met NaN)")
    warnings.showwarning = lambda message, *_, **__: _say(str(message))
