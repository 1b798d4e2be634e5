"""The bound is the library's with another KL, and ψ is moved by the second optimiser alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from library_models import SIZES, TRAIN, cells, set_up
from torch.distributions import Normal

import scvi
from vmm.lazy import resolve
from vmm.numerics.seeds import global_seed
from vmm.scvi_tools import plan
from vmm.scvi_tools.module import posterior_in
from vmm.scvi_tools.records import MODELS

each_model = pytest.mark.parametrize("name", list(MODELS))
SAME_LOSS = [name for name, record in MODELS.items() if not record.mean_of_cells]


def pair(name: str, prior: str, **options):
    """Return a model with a prior and the library's own, with the same weights, and their cells."""
    adata = cells(name)
    ours = set_up(name, adata)(adata, prior=prior, **SIZES, **options)
    theirs = resolve(MODELS[name].cls)
    forced = dict(MODELS[name].forced)
    own = set_up(name, adata, theirs)(adata, n_latent=SIZES["n_latent"], **forced, **options)
    shared = ours.module.state_dict()
    own.module.load_state_dict({key: shared[key] for key in own.module.state_dict()})
    return ours, own, next(iter(ours._make_data_loader(adata, batch_size=32)))


def losses(model, tensors, kl_weight: float = 1.0):
    with global_seed(3), torch.no_grad():
        model.module.eval()
        return model.module(tensors, loss_kwargs={"kl_weight": kl_weight})


@pytest.mark.parametrize("kl_weight", [0.0, 0.3, 1.0])
@each_model
def test_normal_is_the_library_s_own_loss(name, kl_weight):
    ours, own, tensors = pair(name, "normal")
    scale = 1
    if MODELS[name].mean_of_cells:  # there the KL weighs 1/M, and all is M² times as large
        kl_weight, scale = 32 * kl_weight, 32**2
    theirs = losses(own, tensors, kl_weight)[2].loss / scale
    got = losses(ours, tensors, kl_weight / np.sqrt(scale))[2].loss
    torch.testing.assert_close(got, theirs, rtol=1e-5, atol=0)


@each_model
def test_the_kl_that_is_replaced_is_that_of_z(name):
    ours, own, tensors = pair(name, "normal")
    inference, _, output = losses(own, tensors)
    replaced = output.kl_local[MODELS[name].kl]
    torch.testing.assert_close(ours.module.kl(inference), replaced, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prior", ["gmm", "vampprior", "vmm"])
@each_model
def test_another_prior_replaces_the_kl_and_nothing_else(name, prior):
    ours, own, tensors = pair(name, prior)
    record, module = MODELS[name], ours.module
    inference, _, output = losses(ours, tensors, 0.3)
    theirs = losses(own, tensors, 0.3)[2]
    q, z = posterior_in(inference), inference["z"]
    encode = module.encode_pseudo_inputs
    kl = -Normal(q.mean, q.scale).entropy().sum(-1) - module.prior.log_prob(z, encode).detach()
    torch.testing.assert_close(output.kl_local[record.kl], kl, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(kl, theirs.kl_local[record.kl], rtol=0.01)
    for key, value in output.reconstruction_loss.items():
        torch.testing.assert_close(value, theirs.reconstruction_loss[key], rtol=1e-5, atol=0)
    if record.mean_of_cells:
        expected = (theirs.dict_sum(theirs.reconstruction_loss) + 0.3 * kl).mean()
    else:
        expected = theirs.loss + 0.3 * (kl - theirs.kl_local[record.kl]).mean()
    torch.testing.assert_close(output.loss, expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", ["LinearSCVI", "TOTALVI"])
def test_with_normal_training_is_the_library_s(name):
    """With the library's warm-up and decay, and its seed."""
    ours, own, _ = pair(name, "normal")
    for model, options in ((ours, {"plan_kwargs": {"weight_decay": 1e-6}}), (own, {})):
        scvi.settings.seed = 4
        warm_up = {"n_epochs_kl_warmup": 7}
        if name == "TOTALVI":
            options |= warm_up
        else:
            options["plan_kwargs"] = options.get("plan_kwargs", {}) | warm_up
        model.train(**TRAIN | {"check_val_every_n_epoch": 1}, **options)
    scvi.settings.seed = None
    for key, value in own.module.state_dict().items():
        torch.testing.assert_close(ours.module.state_dict()[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prior", ["gmm", "vmm"])
@each_model
def test_only_the_second_optimiser_moves_psi_and_nothing_else(name, prior, monkeypatch):
    adata = cells(name)
    model = set_up(name, adata)(adata, prior=prior, **SIZES)
    seen = []

    class Watched(plan.EmpiricalBayes):
        def __call__(self, z, encode=None):
            before = state()
            super().__call__(z, encode)
            seen.append((before, state()))

    def state():
        return {key: value.clone() for key, value in model.module.state_dict().items()}

    monkeypatch.setattr(plan, "EmpiricalBayes", Watched)
    model.train(**TRAIN)
    psi = {f"prior.{key}" for key in model.module.prior.state_dict()}
    for before, after in seen:
        assert {key for key in after if not torch.equal(before[key], after[key])} == psi
    for (_, after), (before, _) in pairwise(seen):
        moved = {key for key in after if not torch.equal(before[key], after[key])}
        assert moved
        assert not moved & psi
    for optimizer in model.trainer.optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert not held & {id(p) for p in model.module.prior.parameters()}


def test_the_second_rate_follows_the_first(monkeypatch):
    adata = cells("SCVI")
    model = set_up("SCVI", adata)(adata, prior="gmm", **SIZES)
    rates = []
    monkeypatch.setattr(
        plan.EmpiricalBayes, "__call__", lambda self, z, encode: rates.append(self.rate)
    )
    model.train(**TRAIN, prior_learning_ratio=2.5, plan_kwargs={"lr": 4e-4})
    assert rates == pytest.approx([1e-3] * len(rates))


@pytest.mark.parametrize("name", ["SCVI", "TOTALVI", "PEAKVI"])
def test_the_prior_has_its_full_weight_unless_a_warm_up_is_asked_for(name):
    adata = cells(name)
    model = set_up(name, adata)(adata, **SIZES)
    train = TRAIN | {"log_every_n_steps": 1}
    model.train(**train)
    assert (model.history["kl_weight"].to_numpy() == 1).all()
    assert model.trainer.optimizers[0].param_groups[0]["weight_decay"] == 0
    in_plan = name == "SCVI"
    warm_up = {"n_epochs_kl_warmup": 4}
    model.train(**train, **({"plan_kwargs": warm_up} if in_plan else warm_up))
    assert model.history["kl_weight"].to_numpy().ravel()[-1] == pytest.approx(0.25)


@pytest.mark.parametrize("name", ["SCVI", "LinearSCVI", "TOTALVI"])
def test_marginal_likelihood_with_normal_is_the_library_s(name):
    ours, own, tensors = pair(name, "normal")
    values = []
    for model in (ours, own):
        with global_seed(5):
            values.append(model.module.marginal_ll(tensors, n_mc_samples=1, return_mean=True))
    assert values[0] == pytest.approx(values[1], rel=1e-5)


@pytest.mark.parametrize("name", ["LinearSCVI", "TOTALVI", "PEAKVI", "MULTIVI"])
def test_marginal_likelihood_has_the_prior(name):
    """A GMM of one component N(0, I) is N(0, I)."""
    ours, _, tensors = pair(name, "normal")
    adata = cells(name)
    one = set_up(name, adata)(adata, prior="gmm", n_components=1, n_latent=4)
    shared = ours.module.state_dict()
    one.module.load_state_dict({**one.module.state_dict(), **shared})
    with torch.no_grad():
        one.module.prior.means.zero_()
    values = []
    for model in (ours, one):
        with global_seed(5):
            values.append(model.module.marginal_ll(tensors, n_mc_samples=3))
    torch.testing.assert_close(values[1], values[0], rtol=1e-5, atol=1e-3)
    with torch.no_grad():
        one.module.prior.means.fill_(3.0)
    with global_seed(5):
        moved = one.module.marginal_ll(tensors, n_mc_samples=3)
    assert (moved < values[0] - 1).float().mean() > 0.9


COVARIATES = {"categorical_covariate_keys": ["donor"], "continuous_covariate_keys": ["age"]}


@pytest.mark.parametrize(
    ("name", "covariates", "options"),
    [(name, {}, {}) for name in MODELS]
    + [
        ("SCVI", COVARIATES, {"encode_covariates": True}),
        ("TOTALVI", COVARIATES, {}),
        ("PEAKVI", COVARIATES, {"encode_covariates": True}),
        ("MULTIVI", COVARIATES, {"encode_covariates": True}),
        ("MULTIVI", {}, {"modality_weights": "universal"}),
        ("CYTOVI", COVARIATES, {"encode_covariates": True}),
    ],
)
def test_a_pseudo_input_that_is_a_cell_is_encoded_as_it(name, covariates, options):
    adata = cells(name)
    model = set_up(name, adata, **covariates)(adata, **SIZES, **options)
    module = model.module
    tensors = next(iter(model._make_data_loader(adata, batch_size=10)))
    pseudo_inputs = module.initial_pseudo_inputs(tensors)
    assert pseudo_inputs.shape == module.prior.pseudo_inputs.shape
    evenly = module.encode_pseudo_inputs(pseudo_inputs)
    categories = module.encoders[0].encoder.n_cat_list
    if sum(categories):
        codes = [tensors["batch"]]
        if covariates:
            codes.append(tensors["extra_categorical_covs"])
        hot = [
            torch.nn.functional.one_hot(code.long().squeeze(-1), n)
            for code, n in zip(codes, categories, strict=True)
        ]
        pseudo_inputs[:, -sum(categories) :] = 1e4 * torch.cat(hot, -1)
    got, q = module.encode_pseudo_inputs(pseudo_inputs), module.posterior(tensors)
    torch.testing.assert_close(got.mean, q.mean)
    torch.testing.assert_close(got.scale, q.scale)
    assert torch.allclose(evenly.mean, q.mean) == (not sum(categories))
