"""scvi-tools' own model: the switches of the configuration reach it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_jobs import make_cells, make_spec, read_weights, train, write

from vmm.data import load
from vmm.data.covariates import Covariates


@pytest.fixture
def prepared(tmp_path):
    return write(make_cells(), tmp_path)


@pytest.mark.parametrize("log_counts", [True, False])
def test_what_its_encoder_sees(log_counts, prepared, tmp_path, monkeypatch):
    """log1p of the counts, or the counts as they are."""
    from scvi.nn import Encoder

    forward, seen = Encoder.forward, []

    def recorded(self, x, *given):
        seen.append(x.detach())
        return forward(self, x, *given)

    monkeypatch.setattr(Encoder, "forward", recorded)
    spec = make_spec("cells", "scvi_tools", log_counts=log_counts, max_epochs=1)
    train(*prepared, spec, tmp_path / "run")
    counts = torch.as_tensor(load(prepared[0]).counts.toarray())
    expected = counts.float().log1p() if log_counts else counts.float()
    rows = {tuple(row) for row in expected.tolist()}
    assert {tuple(row) for part in seen for row in part.tolist()} == rows


@pytest.mark.parametrize(("given", "width"), [({}, 10), ({"deeply_inject_covariates": False}, 8)])
def test_layers_of_the_decoder_that_see_the_batch(given, width, prepared, tmp_path):
    """The second has 8 inputs, and by default one for each of the two batches."""
    spec = make_spec("cells", "scvi_tools", n_layers=2, max_epochs=1, **given)
    run = train(*prepared, spec, tmp_path / "run")
    weights = read_weights(tmp_path / "run")
    assert weights["decoder.px_decoder.fc_layers.Layer 0.0.weight"].shape == (8, 2 + 2)
    assert weights["decoder.px_decoder.fc_layers.Layer 1.0.weight"].shape == (8, width)
    assert run["spec"].get("options") == (given or None)


def test_defaults_are_the_librarys(prepared, tmp_path):
    """Named or not, to the bit."""
    changes = [{}, {"log_counts": True, "deeply_inject_covariates": True}]
    for number, given in enumerate(changes):
        spec = make_spec("cells", "scvi_tools", n_layers=2, max_epochs=1, **given)
        train(*prepared, spec, tmp_path / str(number))
    first, second = (np.load(tmp_path / str(n) / "latent.npz")["embedding"] for n in (0, 1))
    np.testing.assert_array_equal(first, second)


def test_it_is_told_of_covariates(tmp_path):
    """The decoder sees two batches, three donors, two numbers and the latent space."""
    data, rows = make_cells(), np.arange(100)
    known = Covariates(
        {"batch": (rows % 3, ["a", "b", "c"])},
        {"age": rows / np.float32(100), "cycle": rows % np.float32(5)},
        1 + rows.astype(np.float32) % 2,
    )
    prepared = write(replace(data, covariates=known), tmp_path)
    spec = make_spec("cells", "scvi_tools", dispersion="gene-batch", likelihood="nb", max_epochs=1)
    train(*prepared, spec, tmp_path / "run")
    weights = read_weights(tmp_path / "run")
    first = weights["decoder.px_decoder.fc_layers.Layer 0.0.weight"]
    assert first.shape == (8, 2 + 2 + 2 + 3)
    assert weights["px_r"].shape == (12, 2)
