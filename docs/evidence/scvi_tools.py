"""Compare priors in models of scvi-tools: N(0, I) with Leiden's clusters against GMM and VMM.

``python docs/evidence/scvi_tools.py`` trains what ``results/scvi_tools.csv`` beside this file does
not have yet, and writes ``results/scvi_tools.md``; ``--trials 2`` and names of comparisons restrict
it. The data lie beside the project, or in the folder given by ``--cells``.
"""

from __future__ import annotations

import argparse
import logging
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import scanpy as sc
import torch

import scvi
import vmm
from vmm.benchmark.metrics.clustering import assignment_scores
from vmm.benchmark.metrics.leiden import leiden_clusters
from vmm.benchmark.metrics.significance import paired_tests

HERE = Path(__file__).resolve().parent
CELLS = HERE.parents[2] / "shared" / "data" / "cells"
ROWS, TABLE = HERE / "results" / "scvi_tools.csv", HERE / "results" / "scvi_tools.md"
METRICS = {"nmi": "NMI (unmerged)", "ari": "ARI (unmerged)"}
BATCH_SIZE, COMPONENTS = 128, 50
LABELS = {"normal": "N(0, I)", "gmm": "GMM", "vmm": "VMM"}
BASE = "N(0, I), Leiden"


@dataclass(frozen=True)
class Comparison:
    """A model on a data set."""

    model: str
    file: str
    n_genes: int = 1000
    setup: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)

    def cells(self, folder: Path) -> anndata.AnnData:
        """Return the cells with the most variable genes."""
        adata = anndata.read_h5ad(folder / self.file)
        sc.pp.highly_variable_genes(
            adata, n_top_genes=self.n_genes, flavor="seurat_v3", subset=True
        )
        adata.X = adata.X.toarray().astype(np.float32)
        return adata


CITE = "citeseq_mimitou_393.h5ad"
COMPARISONS = {
    "TOTALVI, RNA and proteins": Comparison(
        "TOTALVI",
        CITE,
        setup={"protein_expression_obsm_key": "protein"},
        train={"max_epochs": 60, "early_stopping": False, "reduce_lr_on_plateau": False},
    ),
    "SCVI, RNA alone": Comparison("SCVI", CITE, train={"max_epochs": 100}),
}
"""By name: the labels are gated on the proteins alone."""


def found_by(
    what: Comparison, adata: anndata.AnnData, prior: str, trial: int
) -> Iterator[tuple[str, np.ndarray]]:
    """Train a model; yield clusters of its own, if it has any, and Leiden's on its embedding."""
    model_class = vmm.with_prior(getattr(scvi.model, what.model))
    model_class.setup_anndata(adata, **what.setup)
    model = model_class(adata, prior=prior, n_components=COMPONENTS, seed=trial)
    model.train(
        **what.train,
        batch_size=BATCH_SIZE,
        check_val_every_n_epoch=1000,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    if prior != "normal":
        yield LABELS[prior], np.asarray(model.predict(), dtype=str)
    embedding = model.get_latent_representation()
    yield f"{LABELS[prior]}, Leiden", leiden_clusters(embedding)
    if prior == "normal":
        n_types = adata.obs["cell_type"].nunique()
        yield f"{LABELS[prior]}, Leiden, told {n_types}", few_clusters(embedding, n_types)


def few_clusters(embedding: np.ndarray, most: int) -> np.ndarray:
    """Return Leiden's clusters at the greatest of some resolutions with so few of them."""
    resolutions = np.geomspace(1, 0.02, 40)
    found = (leiden_clusters(embedding, resolution) for resolution in resolutions)
    return next(clusters for clusters in found if clusters.max() < most)


KEYS = ["comparison", "prior", "trial"]


def rows() -> pd.DataFrame:
    """Return what was measured so far."""
    return pd.read_csv(ROWS) if ROWS.exists() else pd.DataFrame(columns=KEYS)


def measure(name: str, prior: str, trial: int, folder: Path) -> pd.DataFrame:
    """Train one model and score its clusters."""
    what = COMPARISONS[name]
    adata = what.cells(folder)
    scvi.settings.seed = trial
    begin = time.process_time()
    found = list(found_by(what, adata, prior, trial))
    seconds = round(time.process_time() - begin, 1)
    records = []
    for method, clusters in found:
        codes = pd.factorize(clusters)[0]
        scores = assignment_scores(pd.factorize(adata.obs["cell_type"])[0], codes)
        values = {column: scores[metric][0] for column, metric in METRICS.items()}
        records.append(
            dict(zip(KEYS, (name, prior, trial), strict=True))
            | {"method": method, "n_clusters": len(set(codes)), "cpu_seconds": seconds}
            | values
        )
    return pd.DataFrame(records)


def table(measured: pd.DataFrame) -> str:
    """Return means, standard deviations, and paired differences to N(0, I) with Leiden."""
    lines = [
        "| comparison | method | trials | NMI | ARI | clusters | NMI − N(0, I) | p | ARI − N(0, I) "
        "| p |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, group in measured.groupby("comparison", sort=False):
        for method, own in group.groupby("method", sort=False):
            cells = [str(name), str(method), str(len(own))]
            cells += [f"{own[m].mean():.3f} ± {own[m].std():.3f}" for m in METRICS]
            cells += [f"{own['n_clusters'].mean():.1f}"]
            for metric in METRICS:
                wide = group.pivot(index="trial", columns="method", values=metric)
                cells += paired(wide, str(method))
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def paired(wide: pd.DataFrame, method: str) -> list[str]:
    """Return the mean difference over the trials that both have, and its p."""
    if method == BASE or BASE not in wide or len(wide[[method, BASE]].dropna()) < 2:
        return ["", ""]
    pair = wide[[method, BASE]].dropna()
    test = paired_tests(pair)
    p = test["p"].dropna().iloc[0]
    return [f"{(pair[method] - pair[BASE]).mean():+.3f}", f"{p:.3f}"]


def main() -> None:
    """Train what is missing, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("comparisons", nargs="*", default=list(COMPARISONS))
    parser.add_argument("--trials", type=int, default=5)
    parser.add_argument("--cells", type=Path, default=CELLS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for trial, name, prior in product(range(options.trials), options.comparisons, LABELS):
        done = rows()
        if (done[KEYS].astype(str) == [name, prior, str(trial)]).all(axis=1).any():
            continue
        new = measure(name, prior, trial, options.cells)
        print(new.to_string(index=False, header=False), flush=True)
        pd.concat([done, new]).to_csv(ROWS, index=False, float_format="%.6g")
    TABLE.write_text(table(rows()))


if __name__ == "__main__":
    main()
