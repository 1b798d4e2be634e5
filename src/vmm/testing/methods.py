"""What any method of the benchmark must keep: a record to print, and folders that are complete.

Inherit :class:`MethodContract` and give it a record, registered or not::

    class TestMine(MethodContract):
        @pytest.fixture
        def method(self):
            return Method("mine", "cells", "Mine", "none", "Mine", "#123456", "Mine (2024).",
                          made_by="my_module:embed", trains=False)

Tiny images, or tiny cells of two batches, are trained on for three epochs, or embedded.
"""

from __future__ import annotations

import csv
import json
import math
import random
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from vmm.benchmark.baselines.pca import principal_components
from vmm.benchmark.embed import embed_cells
from vmm.benchmark.jobs import train_trials
from vmm.benchmark.methods.records import METHODS, OURS, Method, method_of
from vmm.benchmark.samples import load_model
from vmm.data.containers import CellData, load
from vmm.lazy import resolve
from vmm.priors.records import PRIORS
from vmm.tensor_files import read_tensors
from vmm.testing.examples import EPOCHS, K, make_cells, make_images, make_spec, write

TRAINED = {"weights.pt", "latent.npz", "history.csv", "run.json"}
EMBEDDED = {"latent.npz", "run.json"}
"""Files of a complete folder."""
HISTORY = ["epoch", "train_elbo", "valid_elbo", "utilized_clusters", "seconds"]
"""Columns of a training's history."""
LATENT_DIM = 2


class MethodContract:
    """Tests of one method and its record."""

    @pytest.fixture
    def method(self) -> Method:
        """Return the record; to be overridden."""
        raise NotImplementedError("define the fixture `method`: it returns the record to test")

    @pytest.fixture(autouse=True)
    def registered(self, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
        """Register the method, and the prior of one of our models, for the time of a test."""
        assert METHODS[method.kind].get(method.name, method) == method, "the name is another's"
        monkeypatch.setitem(METHODS[method.kind], method.name, method)
        if method.prior_record is not None:
            monkeypatch.setitem(PRIORS, method.prior_record.name, method.prior_record)

    @pytest.fixture
    def prepared(self, method: Method, tmp_path: Path) -> tuple[Path, Path]:
        """Return paths of data and split."""
        return write(make_images() if method.kind == "images" else make_cells(), tmp_path)

    # The record

    def test_the_record_is_complete(self, method: Method) -> None:
        """A short name and words that can be printed."""
        assert re.fullmatch(r"[a-z0-9_]+", method.name)
        assert method.kind in METHODS
        assert method.label.strip()
        assert re.fullmatch(r"#[0-9a-f]{6}", method.colour)
        assert method.about.endswith(".") and "\n" not in method.about

    def test_it_can_be_told_from_others(self, method: Method) -> None:
        """By label and colour in tables and figures of a kind, by model and prior in rows."""
        others = [other for other in METHODS[method.kind].values() if other.name != method.name]
        for what in ("label", "colour"):
            assert getattr(method, what) not in [getattr(other, what) for other in others], what
        assert (method.model, method.prior) not in [(o.model, o.prior) for o in others]
        assert method_of(method.model, method.prior).label == method.label

    def test_what_it_depends_on_can_be_imported(self, method: Method) -> None:
        """What makes it, too."""
        assert callable(resolve(method.made_by))
        assert method.made_by.partition(":")[0] in method.depends_on
        for module in method.depends_on:
            import_module(module)

    def test_its_parts_fit(self, method: Method) -> None:
        """Only cells are embedded, without clusters; our models are those with a prior of ours."""
        assert method.trains or (method.kind == "cells" and not method.clusters)
        assert not (method.trains and method.needs_batches), "a model is trained on any data"
        assert not (method.trains and method.graph), "a graph is made without training"
        assert (method.made_by == OURS) == method.is_ours
        if method.prior_record is not None:
            assert method.kind in method.prior_record.kinds
            assert method.clusters == method.prior_record.clusters
            assert method.prior_record.module in method.depends_on

    # Its folder

    def test_it_writes_a_complete_folder(
        self, method: Method, prepared: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """Embedding and, if it clusters, probabilities; history; run.json; no checkpoint."""
        folder = tmp_path / "model"
        rows: list[dict[str, float]] = []
        returned = _run(method, prepared, folder, progress=rows.append)
        assert _names(folder) == (TRAINED if method.trains else EMBEDDED)
        run = json.loads((folder / "run.json").read_text())
        assert run["status"] == "ok"
        assert run["device"] == "cpu"
        assert run["seconds"] > 0 and run["peak_memory_mb"] > 50
        assert run["versions"]["torch"] == torch.__version__
        _check_latent(_latent(folder), len(load(prepared[0])), method)
        if method.needs_batches and not method.graph:
            assert not np.array_equal(_latent(folder)["embedding"], _uncorrected(prepared[0]))
        if not method.trains:
            return
        assert run == json.loads(json.dumps(returned))
        assert run["spec"] == json.loads(json.dumps(make_spec(method.kind, method.name).plain()))
        assert run["epochs"] == EPOCHS or (not method.elbo and run["epochs"] > EPOCHS)
        history = _history(folder)
        columns = HISTORY if method.elbo else ["epoch", "seconds"]
        assert list(history[0]) == columns
        assert [int(row["epoch"]) for row in history] == [r["epoch"] for r in rows]
        assert [row["epoch"] for row in rows] == list(range(1, run["epochs"] + 1))
        assert all(math.isfinite(float(row[column])) for row in history for column in columns[1:])
        scores = [float(row["valid_elbo" if method.elbo else "epoch"]) for row in history]
        assert run["best_epoch"] == int(np.argmax(scores)) + 1
        if method.clusters:
            used = len(np.unique(_latent(folder)["cluster_probs"].argmax(1)))
            assert run["utilized_clusters"] == used

    def test_it_repeats(self, method: Method, prepared: tuple[Path, Path], tmp_path: Path) -> None:
        """To the bit, whatever the global random state."""
        for seed in (1, 2):
            torch.manual_seed(seed)
            np.random.seed(seed)
            random.seed(seed)
            _run(method, prepared, tmp_path / f"run_{seed}")
        _assert_same(tmp_path / "run_1", tmp_path / "run_2", method)

    def test_data_of_one_batch(self, method: Method, tmp_path: Path) -> None:
        """What needs batches says that it is not applicable, and corrects nothing; others run."""
        if method.kind != "cells":
            return
        prepared = write(make_cells(n_batches=1), tmp_path)
        _run(method, prepared, tmp_path / "model")
        status = json.loads((tmp_path / "model" / "run.json").read_text())["status"]
        assert status == ("n/a: single batch" if method.needs_batches else "ok")
        embedding = _latent(tmp_path / "model")["embedding"]
        assert np.isfinite(embedding).all()
        if method.needs_batches:
            np.testing.assert_array_equal(embedding, _uncorrected(prepared[0]))

    def test_a_diverged_training_says_so(
        self, method: Method, prepared: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """And writes finite files."""
        if not method.trains:
            return
        folder = tmp_path / "model"
        run = _run(method, prepared, folder, learning_rate=1e20, max_epochs=20)
        assert run["status"] == "diverged"
        history = _history(folder)
        assert len(history) == run["epochs"]
        assert not method.elbo or not math.isfinite(float(history[-1]["valid_elbo"]))
        assert all(np.isfinite(array).all() for array in _latent(folder).values())
        weights = read_tensors(folder / "weights.pt")
        assert all(torch.isfinite(value).all() for value in weights.values() if value.numel())

    def test_trials_at_once_are_those_alone(
        self, method: Method, prepared: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """The same files; after one epoch of two batches, before rounding grows, the same numbers.

        A bias before batch normalisation has a gradient of rounding only, of which Adam makes whole
        steps: of 0.003, twice.
        """
        if not method.trains:
            return
        _skip_without_library(method)
        changes = {"max_epochs": 1, "batch_size": 40}
        specs = [make_spec(method.kind, method.name, trial=t, **changes) for t in range(2)]
        folders = [tmp_path / f"trial_{trial}" for trial in range(2)]
        data, split = prepared
        runs = train_trials(data, [split] * 2, specs, folders, "cpu", [_quiet] * 2)
        assert [run["spec"]["trial"] for run in runs] == [0, 1]
        for trial, folder in enumerate(folders):
            assert _names(folder) == TRAINED
            assert json.loads((folder / "run.json").read_text()) == runs[trial]
            _run(method, prepared, tmp_path / "alone", trial=trial, **changes)
            latent, expected = _latent(folder), _latent(tmp_path / "alone")
            assert latent.keys() == expected.keys()
            for key, array in latent.items():
                np.testing.assert_allclose(array, expected[key], rtol=0.02, atol=6e-3)
            histories = [_history(f) for f in (folder, tmp_path / "alone")]
            assert len(histories[0]) == len(histories[1])
            if method.elbo:
                (row,), (other,) = ([float(r["train_elbo"]) for r in h] for h in histories)
                assert row == pytest.approx(other, rel=1e-5)
            sizes = [(f / "weights.pt").stat().st_size for f in (folder, tmp_path / "alone")]
            assert sizes[0] < 1.1 * sizes[1], "weights of its own only"

    def test_our_models_are_read_again(
        self, method: Method, prepared: tuple[Path, Path], tmp_path: Path
    ) -> None:
        """They give the embedding that was written."""
        if not method.is_ours:
            return
        folder = tmp_path / "model"
        _run(method, prepared, folder)
        model, data, tensors = load_model(folder, *prepared, device="cpu")
        assert data.name == make_spec(method.kind, method.name).job.dataset
        with torch.no_grad():
            mean = model.posterior(tensors.batch(torch.arange(len(tensors)))).mean
        np.testing.assert_allclose(mean.numpy(), _latent(folder)["embedding"], atol=1e-5)


def _skip_without_library(method: Method) -> None:
    """Skip a test of a method whose library is not here, or in an older version only."""
    if method.unmet:
        pytest.skip(method.unmet)


def _quiet(row: dict[str, float]) -> None:
    """Show nothing of a training."""


def _run(
    method: Method,
    prepared: tuple[Path, Path],
    folder: Path,
    progress: Any = _quiet,
    **changes: Any,
) -> dict[str, Any]:
    """Train or embed; return what run.json holds."""
    data, split = prepared
    _skip_without_library(method)
    if method.trains:
        spec = make_spec(method.kind, method.name, **changes)
        return train_trials(data, [split], [spec], [folder], "cpu", [progress])[0]
    embed_cells(data, [method.name], [0], lambda name, trial: folder, seed=5)
    return json.loads((folder / "run.json").read_text())


def _uncorrected(path: Path) -> np.ndarray:
    """Return the principal components of prepared cells."""
    data = load(path)
    assert isinstance(data, CellData)
    return principal_components(data)


def _check_latent(latent: dict[str, np.ndarray], n: int, method: Method) -> None:
    """Assert the arrays that a method must give, finite and in single precision."""
    if method.graph:
        _check_graph(latent, n)
        return
    assert set(latent) == {"embedding"} | ({"cluster_probs"} if method.clusters else set())
    assert all(array.dtype == np.float32 for array in latent.values())
    assert all(np.isfinite(array).all() for array in latent.values())
    embedding = latent["embedding"]
    assert embedding.ndim == 2 and len(embedding) == n
    assert embedding.std(0).min() > 0
    if method.trains:
        assert embedding.shape[1] == LATENT_DIM
    if method.clusters:
        shape = latent["cluster_probs"].shape
        assert shape == (n, K) if method.is_ours or method.n_clusters_key else shape[0] == n
        np.testing.assert_allclose(latent["cluster_probs"].sum(1), 1, rtol=1e-5)


def _check_graph(latent: dict[str, np.ndarray], n: int) -> None:
    """Assert a symmetric graph of positive weights that joins each cell with some other."""
    assert set(latent) == {"graph_data", "graph_indices", "graph_indptr"}
    parts = (latent[f"graph_{part}"] for part in ("data", "indices", "indptr"))
    graph = csr_matrix(tuple(parts), shape=(n, n))
    assert np.isfinite(graph.data).all() and (graph.data > 0).all()
    assert abs(graph - graph.T).max() < 1e-6
    graph.setdiag(0)
    assert (graph.sum(1) > 0).all()


def _assert_same(first: Path, second: Path, method: Method) -> None:
    """Assert equality of what two folders hold, but for seconds."""
    latent, other = _latent(first), _latent(second)
    assert latent.keys() == other.keys()
    for key in latent:
        np.testing.assert_array_equal(latent[key], other[key])
    if method.trains:
        weights, others = (read_tensors(folder / "weights.pt") for folder in (first, second))
        assert weights.keys() == others.keys()
        assert all(torch.equal(weights[key], others[key]) for key in weights)
        histories = [[{**row, "seconds": ""} for row in _history(f)] for f in (first, second)]
        assert histories[0] == histories[1]


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _latent(folder: Path) -> dict[str, np.ndarray]:
    with np.load(folder / "latent.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def _history(folder: Path) -> list[dict[str, str]]:
    with (folder / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))
