"""The script of a training job, run as Snakemake runs it: what it imports and what it leaves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import scipy.sparse

from vmm.data import CellData, make_split

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
HEAVY = (
    {"scvi", "scib_metrics", "lightning", "jax", "scanpy", "anndata", "h5py"}
    | {"pandas", "matplotlib", "sklearn", "numba", "snakemake"}
)  # fmt: skip
"""What every job of our own models on cells would pay for at its start, and needs nothing of."""

JOB = """
import runpy, sys
from pathlib import Path
from types import SimpleNamespace

folder = Path(sys.argv[1])
spec = dict(
    kind="cells", dataset="cells", method="vmm", setting="chosen", trial=0, seed=0,
    networks=dict(n_latent=2, n_layers=1, n_hidden=8, likelihood="zinb"), learning_rate=1e-3,
    batch_size=16, max_epochs=2, patience=2, monitor="elbo", prior_learning_ratio=1.0,
    ours=dict(name="vmm", n_components=4),
)
class Input(list):
    data, splits, choice = folder / "cells.npz", [folder / "split.npz"], []

snakemake = SimpleNamespace(
    input=Input([Input.data, *Input.splits]),
    output=[folder / "model" / "run.json"],
    params=SimpleNamespace(specs=[spec]), log=[folder / "log"], threads=1,
    config={"device": "cpu", "cuda_graph": False},
)
sys.path.insert(0, sys.argv[2])
runpy.run_path(sys.argv[2] + "/train.py", {"snakemake": snakemake})
(folder / "imported").write_text("\\n".join({name.split(".")[0] for name in sys.modules}))
"""


def test_a_training_job_imports_nothing_heavy_but_torch(tmp_path):
    rng = np.random.default_rng(0)
    cells = CellData(
        name="cells",
        counts=scipy.sparse.csr_matrix(rng.poisson(1, (60, 5)).astype(np.int32)),
        batch=np.zeros(60, dtype=np.int64),
        batch_names=["all"],
        labels=np.arange(60) % 2,
        label_names=["a", "b"],
        genes=np.arange(5).astype(str),
        cells=np.arange(60).astype(str),
    )
    cells.save(tmp_path / "cells.npz")
    train, valid = make_split(cells, 0, 0)
    np.savez(tmp_path / "split.npz", train=train, valid=valid)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", JOB, str(tmp_path), str(SCRIPTS)]
    done = subprocess.run(command, env=environment)
    assert done.returncode == 0, (tmp_path / "log").read_text()
    imported = set((tmp_path / "imported").read_text().split())
    assert {"torch", "numpy", "vmm"} <= imported
    assert not imported & HEAVY
    assert {path.name for path in (tmp_path / "model").iterdir()} == {
        *("weights.pt", "latent.npz", "history.csv", "run.json")
    }
