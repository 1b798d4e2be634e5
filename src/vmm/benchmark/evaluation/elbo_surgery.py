"""The validation ELBO of a model taken apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from vmm.benchmark.evaluation.folders import rows_of
from vmm.benchmark.jobs import read_split
from vmm.benchmark.metrics.elbo_surgery import elbo_surgery
from vmm.benchmark.metrics.rows import rows_from_scores
from vmm.benchmark.samples import load_model
from vmm.device import claimed
from vmm.numerics.seeds import seed_of

if TYPE_CHECKING:
    import pandas as pd


def evaluate_elbo_surgery(
    folder: str | Path,
    data_path: str | Path,
    split_path: str | Path,
    n_samples: int = 100,
    device: str = "auto",
) -> pd.DataFrame:
    """Decompose the validation ELBO of one image model.

    Parameters
    ----------
    folder, data_path, split_path : path
    n_samples : int
        Samples of z for each validation image.
    device : str

    Returns
    -------
    pandas.DataFrame
        Tidy rows, the metrics of the family ``elbo_surgery``.
    """

    def score(folder: Path, run: dict[str, Any]) -> pd.DataFrame:
        spec = run["spec"]
        with claimed(device) as where:
            model, _, tensors = load_model(folder, data_path, split_path, where)
            generator = torch.Generator(where)
            generator.manual_seed(seed_of(spec["seed"], spec["trial"], "elbo surgery"))
            valid = torch.as_tensor(read_split(split_path)[1], device=where)
            batches = [tensors.batch(rows) for rows in valid.split(1000)]
            return rows_from_scores(spec, elbo_surgery(model, batches, n_samples, generator))

    return rows_of([folder], "elbo_surgery", score)
