"""Damaged results of earlier jobs: one sentence that names the file, or made anew; never used."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_jobs import make_cells, make_spec, train, write

from vmm.benchmark.best import best_model
from vmm.benchmark.evaluation.clustering import evaluate_clustering
from vmm.benchmark.evaluation.elbo_surgery import evaluate_elbo_surgery
from vmm.benchmark.metrics.rows import read_rows, write_rows
from vmm.benchmark.samples import load_model, prior_samples
from vmm.benchmark.tuning import climb
from vmm.data import ImageData, load, make_split
from vmm.errors import InputError
from vmm.io import read_json
from vmm.plots.training_curves import read_history

SPEC = make_spec("images", "vmm", max_epochs=2, n_components=6)
TUNING = make_spec("cells", "vmm", max_epochs=2, n_components=6)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """Return a folder with a data set, its split, a trained model and its rows."""
    folder = tmp_path_factory.mktemp("whole")
    random, labels = np.random.default_rng(0), np.arange(60) % 3
    x = (60 * labels[:, None] + random.integers(0, 100, (60, 16))).astype(np.uint8)
    data = ImageData("shapes", x, labels, ["a", "b", "c"], (4, 4))
    data.save(folder / "data.npz")
    rows = make_split(data, 0, 0)
    np.savez(folder / "split.npz", train=rows[0], valid=rows[1])
    fit(folder)
    write_rows(evaluate_clustering([folder], folder / "data.npz"), folder / "rows.csv")
    return folder


def fit(folder: Path) -> None:
    train(folder / "data.npz", folder / "split.npz", SPEC, folder)


def model(folder: Path):
    return load_model(folder, folder / "data.npz", folder / "split.npz", "cpu")


def clustering(folder: Path):
    return evaluate_clustering([folder], folder / "data.npz")


def surgery(folder: Path):
    return evaluate_elbo_surgery(folder, folder / "data.npz", folder / "split.npz", 2, "cpu")


def samples(folder: Path):
    out = folder / "samples.npz"
    return prior_samples(folder, folder / "data.npz", folder / "split.npz", out, "cpu")


def best(folder: Path):
    return best_model(read_rows(folder / "rows.csv"), [folder], ["Accuracy"])


USES = [
    ("data.npz", lambda folder: load(folder / "data.npz")),
    ("data.npz", fit),
    ("data.npz", clustering),
    ("split.npz", fit),
    ("split.npz", model),
    ("weights.pt", model),
    ("weights.pt", surgery),
    ("weights.pt", samples),
    ("latent.npz", clustering),
    ("latent.npz", samples),
    ("run.json", model),
    ("run.json", clustering),
    ("run.json", best),
    ("rows.csv", best),
    ("history.csv", lambda folder: read_history(folder / "history.csv")),
]
DAMAGE = {
    "truncated": lambda content: content[: 2 * len(content) // 3],
    "nearly whole": lambda content: content[:-5],
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
    "garbled": lambda content: content[:100] + b"\xff\x00\xff" + content[103:],
}


@pytest.mark.parametrize(("name", "use"), USES, ids=lambda v: getattr(v, "__name__", v))
@pytest.mark.parametrize("damage", DAMAGE)
def test_it_is_named(name, use, damage, whole, tmp_path):
    folder = tmp_path / "folder"
    shutil.copytree(whole, folder)
    use(folder)
    (folder / name).write_bytes(DAMAGE[damage]((whole / name).read_bytes()))
    with pytest.raises(InputError) as caught:
        use(folder)
    sentence = str(caught.value)
    assert sentence.startswith(f"{folder / name} ")
    assert "remove it and start again, then it is made anew" in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_step_of_tuning_is_trained_anew(damage, tmp_path):
    """And a whole one is not."""
    data, split = write(make_cells(), tmp_path)

    def tune() -> int:
        climb(data, [split], [TUNING], [2.0], 2, lambda trial, setting: tmp_path, "cpu")
        return (tmp_path / "run.json").stat().st_mtime_ns

    first = tune()
    assert tune() == first
    content = (tmp_path / "run.json").read_bytes()
    (tmp_path / "run.json").write_bytes(DAMAGE[damage](content))
    assert tune() > first
    assert read_json(tmp_path / "run.json")["status"] == "ok"
