"""Newer models of scvi-tools: what they are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_jobs import make_cells, make_spec, read_weights, train, write

from vmm.errors import InputError
from vmm.versions import unmet

EXACT = "donot_use_mm_for_euclid_dist"


def latent(folder):
    with np.load(folder / "latent.npz") as arrays:
        return arrays["embedding"]


def test_scanvi_learns_from_labels_after_scvi(tmp_path):
    """The history is that of scVI; other labels, another embedding."""
    cells = make_cells()
    shuffled = np.random.default_rng(0).permutation(cells.labels)
    folders = {}
    for name, data in (("own", cells), ("other", replace(cells, labels=shuffled))):
        (tmp_path / name).mkdir()
        prepared = write(data, tmp_path / name)
        folders[name] = tmp_path / name / "scanvi"
        train(*prepared, make_spec("cells", "scanvi"), folders[name])
        train(*prepared, make_spec("cells", "scvi_tools"), tmp_path / name / "scvi")
        elbos = [
            [line.split(",")[2] for line in (folder / "history.csv").read_text().splitlines()]
            for folder in (folders[name], tmp_path / name / "scvi")
        ]
        assert elbos[0] == elbos[1]
    assert any(name.startswith("classifier") for name in read_weights(folders["own"]))
    assert not np.allclose(latent(folders["own"]), latent(folders["other"]))


def test_scanvi_takes_cells_without_a_label_and_refuses_only_those(tmp_path):
    cells = make_cells()
    some = np.where(np.arange(len(cells)) % 3, cells.labels, -1)
    named = replace(cells, labels=some, label_names=["T", "B", "unlabelled"])
    train(*write(named, tmp_path), make_spec("cells", "scanvi", max_epochs=1), tmp_path / "some")
    none = replace(cells, labels=np.full_like(some, -1), label_names=[])
    with pytest.raises(InputError, match="scanvi learns from labels, and no cell of cells has one"):
        train(*write(none, tmp_path), make_spec("cells", "scanvi"), tmp_path / "none")


def test_sysvi_sees_log_normalised_counts(tmp_path, monkeypatch):
    from scvi.external.sysvi._module import SysVAE

    inference, seen = SysVAE.inference, []

    def recorded(self, **given):
        seen.append(given["x"].detach())
        return inference(self, **given)

    monkeypatch.setattr(SysVAE, "inference", recorded)
    cells = make_cells()
    train(*write(cells, tmp_path), make_spec("cells", "sysvi", max_epochs=1), tmp_path / "run")
    counts = torch.as_tensor(cells.counts.toarray()).float()
    expected = (1e4 * counts / counts.sum(1, keepdim=True)).log1p()
    nearest = torch.cdist(seen[0], expected, compute_mode=EXACT).min(1).values
    assert nearest.max() < 1e-4
    weights = read_weights(tmp_path / "run")
    assert any(name.startswith("prior.") for name in weights), "a VampPrior"


def test_drvi_where_the_library_has_none(tmp_path):
    if unmet("scvi-tools", "1.5") is None:
        pytest.skip("scvi-tools is new enough")
    with pytest.raises(InputError, match=r"drvi needs scvi-tools 1.5 or newer, which needs Python"):
        train(*write(make_cells(), tmp_path), make_spec("cells", "drvi"), tmp_path / "run")


@pytest.mark.parametrize("n_latent", [2, 30])
def test_mrvi_embeds_what_its_samples_do_not_shift(n_latent, tmp_path):
    """That is u, of the width of the others; samples are batches, and labels are not looked at."""
    cells = make_cells(n_batches=3)
    spec = make_spec("cells", "mrvi", max_epochs=1, n_latent=n_latent)
    for name, labels in (("own", cells.labels), ("other", cells.labels[::-1].copy())):
        (tmp_path / name).mkdir()
        train(*write(replace(cells, labels=labels), tmp_path / name), spec, tmp_path / name)
    weights = read_weights(tmp_path / "own")
    assert weights["u_prior_means"].shape == (20, n_latent)
    assert [len(w) for name, w in weights.items() if name.startswith("qz.embedding.")] == [3]
    assert latent(tmp_path / "own").shape == (len(cells), n_latent)
    np.testing.assert_array_equal(latent(tmp_path / "own"), latent(tmp_path / "other"))
