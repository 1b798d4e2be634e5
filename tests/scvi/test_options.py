"""Arguments that users of scvi-tools give: taken, or refused with the name of ours."""

from __future__ import annotations

import numpy as np
import pytest

import vmm
from vmm.errors import InputError
from vmm.scvi.options import part_to_validate, plan_rate


@pytest.fixture
def untrained(pbmc):
    """Return a small model."""
    cells = pbmc[::7].copy()
    vmm.SCVI.setup_anndata(cells, layer="counts", batch_key="lanes")
    return vmm.SCVI(cells, n_hidden=8, n_latent=3, n_components=4, seed=0)


def trained(model, **options):
    model.train(**{"max_epochs": 2, "enable_progress_bar": False} | options)
    return model.get_latent_representation()


def test_a_call_of_scvi_tools_runs_as_it_is(pbmc, untrained):
    plain = trained(untrained, validation_size=0.2, learning_rate=1e-3)
    same = vmm.SCVI(
        untrained.adata, None, n_hidden=8, n_latent=3, n_components=4, seed=0, dropout_rate=0.1,
        dispersion="gene", latent_distribution="normal",
    )  # fmt: skip
    asked = trained(
        same, accelerator="cpu", devices=1, train_size=0.8, shuffle_set_split=True,
        load_sparse_tensor=False, batch_size=None, early_stopping=True, plan_kwargs={"lr": 1e-3},
        datasplitter_kwargs={"drop_last": True, "num_workers": 0}, logger=None, callbacks=[],
        early_stopping_monitor="elbo_validation", early_stopping_min_delta=0.0,
        check_val_every_n_epoch=1, precision="32-true", simple_progress_bar=True,
        log_every_n_steps=5, enable_checkpointing=False, datamodule=None, trainer_config=None,
    )  # fmt: skip
    np.testing.assert_array_equal(asked, plain)
    assert len(same.validation_indices) == 20 and len(same.test_indices) == 0


def test_defaults_of_none(untrained, monkeypatch):
    asked = []
    monkeypatch.setattr(
        type(untrained), "_train", lambda self, settings, *_: asked.append(settings)
    )
    untrained.train(max_epochs=None, batch_size=None)
    assert asked[0].max_epochs == 10_000 and asked[0].batch_size == 128


REFUSED = {
    "max_epochs": (0, "`max_epochs` is 0; it must be a whole number of at least 1."),
    "batch_size": (1, "`batch_size` is 1; it must be a whole number of at least 2."),
    "learning_rate": (0.0, "`learning_rate` is 0.0; it must be greater than 0."),
    "prior_learning_ratio": ("big", "`prior_learning_ratio` is 'big'; it must be a number."),
    "early_stopping_patience": (2.5, "is 2.5; it must be a whole number of at least 1."),
    "train_size": (1.0, "`train_size` is 1.0; it must lie between 0 and 1: there must be cells"),
    "validation_size": (0, "`validation_size` is 0; it must lie between 0 and 1"),
    "threads": (0, "`threads` is 0; it must be a whole number of at least 1."),
    "precision": ("16-mixed", "precision is '16-mixed'; it must be 'float32', 'tf32' or 'bf16'"),
    "sleep_below": (1.5, "sleep_below is 1.5; it must be a part of one point, from 0 to below 1"),
    "plan_kwargs": (1e-3, "`plan_kwargs` is of type float; it must be a dict or None."),
    "accelerator": ("mps", "`accelerator='mps'` is not supported; it must be one of auto, cpu, gp"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_values_are_told_before_training(untrained, name):
    value, message = REFUSED[name]
    with pytest.raises(InputError) as caught:
        untrained.train(**{name: value})
    assert message in str(caught.value)
    assert not untrained.is_trained


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"check_val_every_n_epoch": 10}, "vmm validates after every epoch, since the best one"),
        ({"shuffle_set_split": False}, "cells are split at random, by the `seed` of vmm.SCVI"),
        ({"early_stopping_monitor": "reconstruction_loss_validation"}, "only the ELBO"),
        ({"early_stopping_min_delta": 0.5}, "use `early_stopping_patience`"),
        ({"logger": object()}, "`model.history` has all epochs"),
        ({"callbacks": [print]}, "its own training loop"),
        ({"datamodule": object()}, "give vmm.SCVI an AnnData object"),
        ({"n_epochs": 3}, "use `max_epochs`"),
        ({"lr": 1e-3}, "use `learning_rate`"),
        ({"use_gpu": True}, "use `accelerator='gpu'`"),
        ({"plan_kwargs": {"n_epochs_kl_warmup": 400}}, "the prior has its full weight from the"),
        ({"plan_kwargs": {"weight_decay": 1e-3}}, "`weight_decay=0.001` is not supported by plan_"),
        ({"datasplitter_kwargs": {"drop_last": False}}, "an incomplete last batch is left out"),
    ],
)
def test_what_is_done_otherwise_is_refused_with_our_name(untrained, options, message):
    with pytest.raises(NotImplementedError) as caught:
        untrained.train(**options)
    assert message in str(caught.value)


UNKNOWN = {
    "train": (
        lambda m: m.train(max_epoch=3),
        "vmm.SCVI.train has no argument 'max_epoch'; did you mean `max_epochs`?",
    ),
    "plan": (
        lambda m: m.train(plan_kwargs={"rate": 3}),
        "plan_kwargs of vmm.SCVI.train has no argument 'rate'",
    ),
    "model": (
        lambda m: vmm.SCVI(m.adata, n_hiden=3),
        "vmm.SCVI has no argument 'n_hiden'; did you mean `n_hidden`?",
    ),
    "setup": (
        lambda m: vmm.SCVI.setup_anndata(m.adata, batch="lanes"),
        "vmm.SCVI.setup_anndata has no argument 'batch'; did you mean `batch_key`?",
    ),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown_arguments(untrained, case):
    call, message = UNKNOWN[case]
    with pytest.raises(TypeError) as caught:
        call(untrained)
    assert message in str(caught.value)


def test_arguments_of_the_model(untrained):
    with pytest.raises(NotImplementedError, match="use `prior` for the distribution"):
        vmm.SCVI(untrained.adata, latent_distribution="ln")
    with pytest.raises(InputError, match="is 'gene-label'; it must be 'gene' or 'gene-batch'"):
        vmm.SCVI(untrained.adata, dispersion="gene-label")
    for name in ("n_hidden", "n_latent", "n_layers", "n_components", "threads"):
        with pytest.raises(InputError, match=f"`{name}` is 0; it must be a whole number"):
            vmm.SCVI(untrained.adata, **{name: 0})


def test_parts_of_the_cells():
    assert part_to_validate(None, None) == 0.1
    assert part_to_validate(0.9, None) == part_to_validate(0.9, 0.1) == 0.1
    assert part_to_validate(None, 0.3) == 0.3
    with pytest.raises(
        InputError, match=r"`train_size` is 0.8 and `validation_size` 0.1; they must"
    ):
        part_to_validate(0.8, 0.1)


def test_two_learning_rates():
    assert plan_rate(None, 4e-4, 4e-4) == 4e-4
    assert plan_rate({"lr": 1e-3}, 4e-4, 4e-4) == plan_rate({"lr": 1e-3}, 1e-3, 4e-4) == 1e-3
    with pytest.raises(InputError, match=r"`learning_rate` is 0.01 and `plan_kwargs` has lr=0.001"):
        plan_rate({"lr": 1e-3}, 1e-2, 4e-4)
