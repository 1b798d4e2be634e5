"""Jobs end to end on synthetic data: switches, seeds, what interrupts them, wrong requests.

That every method writes a complete folder is part of its contract (`methods`).
"""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiny_jobs
import torch
from room import room_for
from tiny_jobs import (
    IMAGES,
    OURS,
    K,
    assert_same_results,
    make_cells,
    make_images,
    make_spec,
    read_history,
    read_latent,
    read_weights,
    run,
    train,
    write,
)

import vmm.benchmark.jobs
import vmm.training
import vmm.training.loop
import vmm.training.stacked
from vmm.benchmark.ours import build_model
from vmm.benchmark.samples import load_model, prior_samples
from vmm.data import load
from vmm.errors import InputError
from vmm.models.tensors import to_tensors


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> dict[str, tuple[Path, Path]]:
    """Return paths of data and split for each kind."""
    folder = tmp_path_factory.mktemp("prepared")
    return {
        "images": write(make_images(), folder),
        "cells": write(make_cells(), folder),
    }


# --------------------------------------------------------------------------- files of a job


def test_monitoring_unmerged_nmi(prepared, tmp_path):
    run(prepared, "images", "vmm", tmp_path, monitor="unmerged_nmi")
    history = read_history(tmp_path)
    scores = [float(row["valid_unmerged_nmi"]) for row in history]
    assert all(0 <= score <= 1 for score in scores)
    best = json.loads((tmp_path / "run.json").read_text())["best_epoch"]
    assert best == int(np.argmax(scores)) + 1


@pytest.mark.parametrize("method", ["gmm", "vmm"])
@pytest.mark.parametrize("kind", ["images", "cells"])
def test_switches_reach_the_prior(kind, method, prepared, tmp_path):
    """Another switch, another result."""
    run(prepared, kind, method, tmp_path / "default")
    for switch in ({"responsibility_gradient": False}, {"concentration_prior": "gamma"}):
        folder = tmp_path / next(iter(switch))
        run(prepared, kind, method, folder, **switch)
        first, second = read_weights(tmp_path / "default"), read_weights(folder)
        assert any(not torch.equal(first[key], second[key]) for key in first)


def test_switch_of_the_vampprior(prepared, tmp_path):
    """Pseudo-inputs that are never trained stay the training cells' counts."""
    run(prepared, "cells", "vampprior", tmp_path, train_pseudo_inputs=False)
    u = read_weights(tmp_path)["prior.pseudo_inputs"]
    counts = torch.nn.functional.softplus(u[:, :12]) - 1
    data = load(prepared["cells"][0])
    cells = {tuple(row) for row in data.counts.toarray().tolist()}
    assert all(tuple(row) in cells for row in counts.round().int().tolist())
    assert (counts - counts.round()).abs().max() < 1e-4


# ----------------------------------------------------------------------------- reproducibility


@pytest.mark.parametrize("change", [{"seed": 6}, {"trial": 1}])
def test_another_seed_or_trial_is_another_model(change, prepared, tmp_path):
    run(prepared, "images", "vmm", tmp_path / "a")
    run(prepared, "images", "vmm", tmp_path / "b", **change)
    first, second = read_latent(tmp_path / "a"), read_latent(tmp_path / "b")
    assert abs(first["embedding"] - second["embedding"]).max() > 1e-2


@pytest.mark.parametrize("kind", ["images", "cells"])
def test_all_our_models_of_a_trial_start_from_the_same_network(kind, prepared):
    """The network initialisation is shared within a trial and differs between trials."""
    data = to_tensors(load(prepared[kind][0]), torch.device("cpu"))
    train, _ = vmm.benchmark.jobs.read_split(prepared[kind][1])

    def network(method, **changes):
        model = build_model(make_spec(kind, method, **changes), data, train)
        return {k: v for k, v in model.state_dict().items() if not k.startswith("prior.")}

    methods = [m for k, m in OURS if k == kind]
    first = network(methods[0])
    for method in methods[1:]:
        other = network(method)
        assert first.keys() == other.keys()
        assert all(torch.equal(first[key], other[key]) for key in first), method
    # Neither the setting nor what is tuned changes it; the trial does.
    other = network(methods[0], setting="b512", batch_size=512, prior_learning_ratio=10.0)
    assert all(torch.equal(first[key], other[key]) for key in first)
    assert not torch.equal(
        first["encoder.0.weight" if kind == "images" else "encoder_head.weight"],
        network(methods[0], trial=1)[
            "encoder.0.weight" if kind == "images" else "encoder_head.weight"
        ],
    )


@pytest.mark.parametrize("method", ["vampprior", "vmm"])
def test_pseudo_inputs_start_at_different_training_points(method, prepared):
    """Drawn without replacement, from the training rows."""
    data = to_tensors(load(prepared["images"][0]), torch.device("cpu"))
    train, _ = vmm.benchmark.jobs.read_split(prepared["images"][1])
    spec = make_spec("images", method, n_components=len(train))
    u = build_model(spec, data, train).prior.pseudo_inputs.detach()
    pixels = data.batch(torch.as_tensor(train))
    assert torch.equal(u.unique(dim=0), pixels.unique(dim=0))
    assert len(u.unique(dim=0)) == len(train)
    assert not torch.equal(u, pixels), "in a random order"


@pytest.mark.parametrize("method", ["vampprior", "vmm"])
def test_balanced_pseudo_inputs(method, prepared, tmp_path):
    """Eight of three classes: 3, 3 and 2, of the training rows; and another training."""
    data = load(prepared["images"][0])
    tensors = to_tensors(data, torch.device("cpu"))
    train, _ = vmm.benchmark.jobs.read_split(prepared["images"][1])
    spec = make_spec("images", method, balanced_pseudo_inputs=True)
    u = build_model(spec, tensors, train, data.labels).prior.pseudo_inputs.detach()
    pixels = tensors.batch(torch.as_tensor(train))
    rows = [(pixels == one).all(1).nonzero().item() for one in u]
    assert len(set(rows)) == K == 8
    assert sorted(np.bincount(data.labels[train][rows])) == [2, 3, 3]
    with pytest.raises(TypeError, match="needs labels"):
        build_model(spec, tensors, train)
    run(prepared, "images", method, tmp_path / "balanced", balanced_pseudo_inputs=True)
    run(prepared, "images", method, tmp_path / "default")
    first, second = (read_weights(tmp_path / name) for name in ("balanced", "default"))
    assert not torch.equal(first["prior.pseudo_inputs"], second["prior.pseudo_inputs"])
    reread, _, _ = load_model(tmp_path / "balanced", *prepared["images"], "cpu")
    assert torch.equal(reread.prior.pseudo_inputs, first["prior.pseudo_inputs"])


# ------------------------------------------------------------------------------ interruptions


class Killed(Exception):
    """Stands for a job's end."""


def killer(epoch: int):
    def progress(row):
        if row["epoch"] == epoch:
            raise Killed

    return progress


def test_the_log_begins_with_the_device(prepared, tmp_path, capsys):
    run(prepared, "images", IMAGES[0], tmp_path / "model")
    assert capsys.readouterr().err.startswith(f"Device: cpu; PyTorch {torch.__version__}\n")


def test_memory_of_a_gpu_is_counted_for_each_model(monkeypatch):
    """Of that GPU; what tensors took, and what was reserved for them."""
    device, asked = torch.device("cuda:1"), []
    numbers = {"max_memory_allocated": 3 * 2**20, "max_memory_reserved": 5 * 2**20}
    names = {"get_device_name": "H100", "reset_peak_memory_stats": None}
    for name, value in (numbers | names).items():
        monkeypatch.setattr(
            torch.cuda, name, lambda of, v=value, n=name: asked.append((n, of)) or v
        )
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append(("empty_cache", device)))
    vmm.benchmark.jobs.reset_peak_memory(device)
    assert asked == [("empty_cache", device), ("reset_peak_memory_stats", device)]
    told = vmm.benchmark.jobs.machine(device)
    assert told["device"] == "H100"
    assert (told["peak_gpu_memory_mb"], told["peak_gpu_memory_reserved_mb"]) == (3.0, 5.0)
    assert {of for _, of in asked} == {device}
    told = vmm.benchmark.jobs.machine(torch.device("cpu"))
    assert (told["peak_gpu_memory_mb"], told["peak_gpu_memory_reserved_mb"]) == (0, 0)


@pytest.fixture
def checkpoint_every_epoch(monkeypatch):
    """Jobs write a checkpoint every 30 seconds: too rare for a test."""
    for name in ("fit", "fit_stacked"):
        often = functools.partial(getattr(vmm.training.stacked, name), checkpoint_seconds=0.0)
        monkeypatch.setattr(vmm.training.stacked, name, often)


@pytest.mark.parametrize(
    ("kind", "method"), [("images", "vade"), ("images", "vmm"), ("cells", "vmm")]
)
def test_a_killed_job_resumes(kind, method, prepared, tmp_path, checkpoint_every_epoch):
    """Nothing but the checkpoint is there after the kill; the same job then ends as it would."""
    run(prepared, kind, method, tmp_path / "whole", max_epochs=6)
    with pytest.raises(Killed):
        run(prepared, kind, method, tmp_path / "killed", progress=killer(4), max_epochs=6)
    names = {path.name for path in (tmp_path / "killed").iterdir()}
    assert names <= {"checkpoint.pt", "checkpoint-pretraining.pt"}
    epochs = []
    run(
        prepared,
        kind,
        method,
        tmp_path / "killed",
        progress=lambda row: epochs.append(row["epoch"]),
        max_epochs=6,
    )
    assert epochs == [4, 5, 6]
    assert_same_results(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("checkpoint*"))


SCRIPT = """
import functools, os, signal, sys
from pathlib import Path
import tiny_jobs as t
import vmm.training.stacked

vmm.training.stacked.fit = functools.partial(vmm.training.loop.fit, checkpoint_seconds=0.0)

def progress(row):
    if row["epoch"] == 3:
        heavy = {"scvi", "scib_metrics", "scanpy", "jax", "lightning"} & set(sys.modules)
        print(sorted(heavy), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

data, split, folder = map(Path, sys.argv[1:])
t.run({"cells": (data, split)}, "cells", "vmm", folder, progress, max_epochs=5)
"""


def test_a_job_killed_by_the_system_resumes(prepared, tmp_path, checkpoint_every_epoch):
    """A real SIGKILL; and our own models import neither scvi-tools nor scib-metrics."""
    folder = tmp_path / "killed"
    paths = [str(Path(tiny_jobs.__file__).parent), str(Path(vmm.__file__).parents[1])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, prepared["cells"]), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.strip() == "[]", "heavy imports in a job that needs none of them"
    assert (folder / "checkpoint.pt").exists() and not (folder / "run.json").exists()
    (folder / ".checkpoint-abc.pt").write_bytes(b"killed while it wrote a checkpoint")
    run(prepared, "cells", "vmm", folder, max_epochs=5)
    assert not list(folder.glob(".*"))
    run(prepared, "cells", "vmm", tmp_path / "whole", max_epochs=5)
    assert_same_results(folder, tmp_path / "whole")


@pytest.mark.parametrize("method", ["vmm", "normal"])
@pytest.mark.parametrize("n_trials", [1, 2])
def test_counts_on_disk_give_the_same_folders(method, n_trials, prepared, tmp_path, monkeypatch):
    """To the bit, of one trial and of two at once."""
    data, split = prepared["cells"]
    specs = [make_spec("cells", method, trial=trial) for trial in range(n_trials)]
    for store in ("dense", "disk"):
        room_for(monkeypatch, store)
        folders = [tmp_path / f"{store}_{trial}" for trial in range(n_trials)]
        quiet = [lambda row: None] * n_trials
        vmm.benchmark.jobs.train_trials(data, [split] * n_trials, specs, folders, "cpu", quiet)
    for trial in range(n_trials):
        assert_same_results(tmp_path / f"dense_{trial}", tmp_path / f"disk_{trial}")


def test_an_old_result_is_not_taken_for_a_new_one(prepared, tmp_path):
    """A job started again removes run.json first: a folder with one is complete."""
    run(prepared, "images", "gmm", tmp_path)
    with pytest.raises(Killed):
        run(prepared, "images", "gmm", tmp_path, progress=killer(1), seed=6)
    assert not (tmp_path / "run.json").exists()


# ----------------------------------------------------------------------------- how it is computed


@pytest.mark.parametrize("method", ["vmm", "vade"])
def test_precision_and_cuda_graph_reach_every_training(method, prepared, tmp_path, monkeypatch):
    """VaDE's pre-training too; precision is on record, as it changes results."""
    seen = []

    def fit(model, data, train, valid, settings, *args, **options):
        seen.append((settings.precision, settings.cuda_graph))
        return vmm.training.loop.fit(model, data, train, valid, settings, *args, **options)

    monkeypatch.setattr(vmm.training.stacked, "fit", fit)
    paths, quiet = prepared["images"], lambda row: None
    spec = make_spec("images", method, precision="bf16")
    result = train(*paths, spec, tmp_path / "bf16", "cpu", quiet, cuda_graph=True)
    usual = make_spec("images", method)
    train(*paths, usual, tmp_path / "float32", "cpu", quiet, cuda_graph=False)
    n = 2 if method == "vade" else 1
    assert seen == [("bf16", True)] * n + [("float32", False)] * n
    assert result["spec"]["precision"] == "bf16"
    ours, exact = (read_history(tmp_path / name) for name in ("bf16", "float32"))
    elbos = [float(history[-1]["valid_elbo"]) for history in (ours, exact)]
    assert elbos[0] != elbos[1] == pytest.approx(elbos[0], rel=0.02)


# ------------------------------------------------------------------------------ wrong requests


def test_cuda_asked_for_and_absent(prepared, tmp_path, monkeypatch):
    """Never a silent fallback."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    sentence = "^`device: cuda` asks for a GPU, but this PyTorch sees no GPU; use `device: auto` or"
    with pytest.raises(InputError, match=sentence):
        train(*prepared["images"], make_spec("images", "gmm"), tmp_path, device="cuda")
    assert not (tmp_path / "run.json").exists()


def test_auto_without_a_gpu_is_the_cpu(prepared, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    spec = make_spec("images", "gmm")
    result = train(*prepared["images"], spec, tmp_path, "auto", lambda row: None)
    assert result["device"] == "cpu"


def test_an_unknown_device(prepared, tmp_path):
    with pytest.raises(InputError, match="tpu"):
        train(*prepared["images"], make_spec("images", "gmm"), tmp_path, device="tpu")


def test_more_components_than_training_rows(prepared, tmp_path):
    with pytest.raises(InputError, match="n_components"):
        run(prepared, "images", "vmm", tmp_path, n_components=1000)


def test_missing_data(prepared, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        train(tmp_path / "nowhere.npz", prepared["cells"][1], make_spec("cells", "gmm"), tmp_path)


# ------------------------------------------------------------------------- prior-predictive samples


@pytest.mark.parametrize("method", ["vampprior", "gmm", "vmm", "vade"])
def test_prior_samples(method, prepared, tmp_path):
    """Contract: utilised clusters by descending π, ten samples each, and their likeliest member."""
    run(prepared, "images", method, tmp_path, max_epochs=10)
    out = tmp_path / "samples.npz"
    prior_samples(tmp_path, *prepared["images"], out, device="cpu")
    with np.load(out, allow_pickle=False) as file:
        samples = dict(file)
    probs = read_latent(tmp_path)["cluster_probs"]
    used = np.unique(probs.argmax(1))
    n = len(used)
    assert set(samples["cluster"]) == set(used) and len(samples["cluster"]) == n
    assert (np.diff(samples["weight"]) <= 0).all()
    weights = read_weights(tmp_path)
    if method == "vampprior":
        expected = np.full(n, 1 / K)
    else:
        expected = weights["prior.weight_logits"].softmax(0).numpy()[samples["cluster"]]
    np.testing.assert_allclose(samples["weight"], expected, rtol=1e-5)
    expected = np.round(10 * samples["weight"] / samples["weight"].max())
    np.testing.assert_array_equal(samples["n_samples"], expected)
    assert samples["samples"].shape == (n, 10, 16)
    assert samples["samples"].std(1).max() > 0, "ten different samples"
    pixels = make_images().scaled()
    np.testing.assert_allclose(samples["members"], pixels[probs.argmax(0)[samples["cluster"]]])
    assert samples["image_shape"].tolist() == [4, 4]


@pytest.mark.parametrize("method", ["vampprior", "gmm", "vmm"])
def test_samples_of_a_component_have_its_moments(method, prepared):
    """Draws of one component: mean m_j, covariance Λ_j⁻¹ + S_j (S_j for the VampPrior)."""
    data = to_tensors(load(prepared["images"][0]), torch.device("cpu"))
    train, _ = vmm.benchmark.jobs.read_split(prepared["images"][1])
    model = build_model(make_spec("images", method), data, train)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        if method != "vampprior":
            raw = model.prior.precision_raw
            raw.add_(0.8 * torch.randn(raw.shape, generator=generator))
        n, j = 60_000, 3
        noise = torch.randn(n, 2, generator=generator)
        component = torch.full((n,), j)
        z = model.prior.sample_component(component, noise, model.encode_pseudo_inputs).double()
        mean, covariance = torch.zeros(2), torch.zeros(2, 2)
        if method == "gmm":
            mean = model.prior.means[j]
        else:
            q = model.encode_pseudo_inputs(model.prior.pseudo_inputs)
            mean, covariance = q.mean[j], q.scale_tril[j] @ q.scale_tril[j].T
        if method != "vampprior":
            lower = model.prior.precision_cholesky()[j]
            covariance = covariance + torch.linalg.inv(lower @ lower.T)
    scale = float(covariance.diagonal().max()) ** 0.5
    torch.testing.assert_close(z.mean(0), mean.double(), rtol=0, atol=5 * scale / n**0.5)
    torch.testing.assert_close(torch.cov(z.T), covariance.double(), rtol=0, atol=0.03 * scale**2)


# ---------------------------------------------------------------------------- scvi-tools' own


def test_scvi_tools_with_one_cell_left_for_the_last_batch(tmp_path):
    """97 cells to train on in batches of 16: batch normalisation takes no batch of one."""
    files = write(make_cells(n=108), tmp_path)
    spec = make_spec("cells", "scvi_tools", max_epochs=2)
    assert train(*files, spec, tmp_path / "job")["status"] == "ok"


def test_scvi_tools_restores_its_best_epoch(prepared, tmp_path):
    """Its saved weights give its saved embedding and, within noise, the best validation ELBO."""
    spec = {"learning_rate": 2e-2, "max_epochs": 12, "patience": 12}
    result = run(prepared, "cells", "scvi_tools", tmp_path, **spec)
    import scvi

    data = load(prepared["cells"][0])
    adata = data.to_anndata()
    scvi.model.SCVI.setup_anndata(adata, batch_key="batch")
    model = scvi.model.SCVI(adata, n_hidden=8, n_latent=2, n_layers=1, gene_likelihood="zinb")
    model.module.load_state_dict(read_weights(tmp_path))
    model.module.eval()
    model.is_trained = True
    embedding = model.get_latent_representation()
    np.testing.assert_allclose(embedding, read_latent(tmp_path)["embedding"], atol=1e-4)
    _, valid = vmm.benchmark.jobs.read_split(prepared["cells"][1])
    scores = [float(row["valid_elbo"]) for row in read_history(tmp_path)]
    assert result["best_epoch"] == int(np.argmax(scores)) + 1
    draws = [float(model.get_elbo(indices=valid)) for _ in range(10)]
    spread = max(float(np.std(draws)), 0.05)
    assert abs(np.mean(draws)) == pytest.approx(-max(scores), abs=6 * spread)


# ----------------------------------------------------------------------------- trials at once


def run_at_once(prepared, kind: str, method: str, folder: Path, n=2, progress=None, **changes):
    """Train trials in one job, all with the split of trial 0."""
    data_path, split_path = prepared[kind]
    specs = [make_spec(kind, method, trial=trial, **changes) for trial in range(n)]
    folders = [folder / f"trial_{trial}" for trial in range(n)]
    shown = progress or [lambda row: None] * n
    return vmm.benchmark.jobs.train_trials(
        data_path, [split_path] * n, specs, folders, device="cpu", progress=shown
    )


@pytest.mark.parametrize(("kind", "method"), [("images", "vade"), ("cells", "vmm")])
def test_a_killed_job_of_trials_resumes(kind, method, prepared, tmp_path, checkpoint_every_epoch):
    run_at_once(prepared, kind, method, tmp_path / "whole", max_epochs=6)
    with pytest.raises(Killed):
        shown = [lambda row: None, killer(4)]
        run_at_once(prepared, kind, method, tmp_path / "killed", progress=shown, max_epochs=6)
    names = {path.name for path in (tmp_path / "killed" / "trial_0").iterdir()}
    assert "checkpoint.pt" in names and "run.json" not in names
    epochs = []
    shown = [lambda row: epochs.append(row["epoch"])] * 2
    run_at_once(prepared, kind, method, tmp_path / "killed", progress=shown, max_epochs=6)
    assert epochs == [4, 4, 5, 5, 6, 6]
    for trial in ("trial_0", "trial_1"):
        assert_same_results(tmp_path / "whole" / trial, tmp_path / "killed" / trial)
    assert not list((tmp_path / "killed").rglob("checkpoint*"))
