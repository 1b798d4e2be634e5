"""Where the VMM's price in batch mixing comes from: variants of it, three trials each.

``python docs/evidence/mixing.py results [DATASET …]`` trains them on data and splits of the runs
of ``cells_converged.yaml`` and ``cells_kang.yaml``, and writes ``docs/evidence/results/mixing.md``.
What is there is not trained again.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from collect import OUT, markdown
from sklearn.metrics import normalized_mutual_info_score

from vmm.benchmark import grid
from vmm.benchmark.config import complete
from vmm.benchmark.config import load as load_config
from vmm.benchmark.job import Job
from vmm.benchmark.jobs import read_split
from vmm.benchmark.metrics.integration import integration_scores
from vmm.benchmark.metrics.significance import paired_tests
from vmm.benchmark.ours import train_ours
from vmm.benchmark.setting import CHOSEN
from vmm.data.containers import load
from vmm.models.count_vae import CountVAE

SETS = {
    "pbmc8k4k_390genes": "cells_converged",
    "mixology": "cells_converged",
    "kang_8donors": "cells_kang",
}
TRIALS = 3
BATCH = ["iLISI", "KBET", "Silhouette batch", "Graph connectivity", "PCR comparison"]
SHOWN = [*BATCH, "Batch correction", "Bio conservation", "Total"]
COUNTS = ("epochs", "clusters")
REFERENCE = "VMM"


def even(self: CountVAE, raw: torch.Tensor) -> torch.Tensor:
    """Return the even mixture of batches, whatever was learnt."""
    return torch.full_like(raw, 1 / raw.shape[-1])


def no_encoded_batch(spec):
    """Leave the batch out of the encoder, and so out of the pseudo-inputs."""
    return replace(spec, networks=replace(spec.networks, encode_covariates=False))


def option(**changed):
    """Change options of the prior."""
    return lambda spec: replace(
        spec, ours=replace(spec.ours, options={**spec.ours.options, **changed})
    )


VARIANTS = {
    "N(0, I)": ("normal", None, None),
    REFERENCE: ("vmm", None, None),
    "VMM, pseudo-inputs of an even mixture of batches": ("vmm", None, even),
    "VMM, encoder without batch": ("vmm", no_encoded_batch, None),
    "VMM, four times the ratio": (
        "vmm",
        lambda spec: replace(spec, prior_learning_ratio=4 * spec.prior_learning_ratio),
        None,
    ),
}
"""Method, change of its specification, and what pseudo-inputs' batches are made by. Raw counts and
the published code's Wishart scale are runs of their own: ``cells_switches.yaml``."""


@contextmanager
def patched(constrained) -> Iterator[None]:
    """Make the batches of pseudo-inputs by another function."""
    with mock.patch.object(CountVAE, "_constrained", constrained) if constrained else nullcontext():
        yield


def trained(folder: Path, dataset: str, variant: str) -> list[dict[str, np.ndarray]]:
    """Return embedding and clusters of each trial, trained now or before."""
    place = folder / "mixing" / dataset / variant.replace(" ", "_").replace(",", "")
    files = [place / f"{trial}.npz" for trial in range(TRIALS)]
    if not all(file.exists() for file in files):
        place.mkdir(parents=True, exist_ok=True)
        method, change, constrained = VARIANTS[variant]
        config = complete(load_config(Path(__file__).with_name(f"{SETS[dataset]}.yaml")))
        run = folder / config["run"]
        jobs = [Job("cells", dataset, method, CHOSEN, trial) for trial in range(TRIALS)]
        specs = [grid.spec(job, config) for job in jobs]
        specs = [change(spec) for spec in specs] if change else specs
        splits = [read_split(run / "splits" / dataset / f"trial_{t}.npz") for t in range(TRIALS)]
        data = load(run / "data" / f"{dataset}.npz")
        quiet = [lambda row: None] * TRIALS
        with patched(constrained):
            results = train_ours(data, splits, specs, place, torch.device("cpu"), quiet)
        for file, one in zip(files, results, strict=True):
            np.savez(file, epochs=len(one.result.history), **one.latent)
    return [dict(np.load(file)) for file in files]


def scored(folder: Path, dataset: str) -> pd.DataFrame:
    """Return a row for each variant and trial."""
    run = folder / complete(load_config(Path(__file__).with_name(f"{SETS[dataset]}.yaml")))["run"]
    data, lines = load(run / "data" / f"{dataset}.npz"), []
    for variant in VARIANTS:
        for trial, latent in enumerate(trained(folder, dataset, variant)):
            embedding = {"z": latent["embedding"]}
            scores = integration_scores(embedding, data.counts, data.batch, data.labels)["z"]
            line = {"data set": dataset, "variant": variant, "trial": trial}
            line |= {name: scores[name][0] for name in SHOWN} | {"epochs": int(latent["epochs"])}
            if "cluster_probs" in latent:
                clusters = latent["cluster_probs"].argmax(1)
                line["clusters"] = len(np.unique(clusters))
                line["NMI of clusters with types"] = normalized_mutual_info_score(
                    data.labels, clusters
                )
                line["NMI of clusters with batches"] = normalized_mutual_info_score(
                    data.batch, clusters
                )
            lines.append(line)
        print(pd.DataFrame(lines[-TRIALS:]).drop(columns="data set").to_string(), flush=True)
    return pd.DataFrame(lines)


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return means, and of the difference from the VMM the p of a paired t-test."""
    names = [column for column in frame.columns if column not in ("data set", "variant", "trial")]
    lines = []
    for variant in VARIANTS:
        line = {"variant": variant}
        for name in names:
            values = frame.pivot(index="trial", columns="variant", values=name)
            mean = values[variant].mean()
            text = "–" if pd.isna(mean) else f"{mean:.1f}" if name in COUNTS else f"{mean:.3f}"
            if variant != REFERENCE and name in ("Batch correction", "Bio conservation", "Total"):
                p = paired_tests(values[[variant, REFERENCE]])["p"].dropna()
                text += f" (p {p.iloc[0]:.3f})" if len(p) else ""
            line[name] = text
        lines.append(line)
    return pd.DataFrame(lines)


def main(folder: Path, datasets: list[str]) -> None:
    """Train and score what can be, and write the page."""
    parts = ["# Where the price in batch mixing comes from"]
    for dataset in datasets:
        config = SETS[dataset]
        run = complete(load_config(Path(__file__).with_name(f"{config}.yaml")))["run"]
        if (folder / run / "data" / f"{dataset}.npz").exists():
            parts.append(f"## {dataset}\n\n{markdown(table(scored(folder, dataset)))}")
            (OUT / "mixing.md").write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), sys.argv[2:] or list(SETS))
