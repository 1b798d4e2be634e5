"""What any model must keep: an ELBO that is a pure function, whatever the prior.

Inherit :class:`ModelContract` and give it a record, registered or not::

    class TestMine(ModelContract):
        @pytest.fixture
        def record(self):
            return ModelRecord("cells", "Mine", "my_module:MyModel", CellNetworks)

Every registered prior is tried in it. A model that needs other data or sizes overrides `tensors` or
`networks`.
"""

from __future__ import annotations

import copy
import io
import re
from dataclasses import is_dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from vmm.lazy import resolve
from vmm.models.base import LatentVariableModel, Noise
from vmm.models.records import CellNetworks, ImageNetworks, ModelRecord
from vmm.models.tensors import CellTensors, ImageTensors, Tensors
from vmm.priors import make_prior
from vmm.priors.records import PRIORS
from vmm.testing.randomness import draw, global_state_untouched
from vmm.training.stacked import StackedModel

N, K, P = 12, 3, 2
"""Points of a batch, components, dimensions of the latent space."""
WIDTH = 6
"""Numbers of pixels, or of genes."""

NETWORKS = {
    "images": ImageNetworks(n_latent=P, hidden=(5, 4)),
    "cells": CellNetworks(n_latent=P, n_layers=1, n_hidden=4, likelihood="zinb"),
}


def _tensors(kind: str, n_batches: int) -> Tensors:
    """Return 30 images or cells."""
    random = np.random.default_rng(0)
    if kind == "images":
        return ImageTensors(random.uniform(-1, 1, (30, WIDTH)).astype(np.float32))
    return CellTensors(random.poisson(3, (30, WIDTH)), np.arange(30) % n_batches, n_batches)


class ModelContract:
    """Tests of one model and its record."""

    @pytest.fixture
    def record(self) -> ModelRecord:
        """Return the record; to be overridden."""
        raise NotImplementedError("define the fixture `record`: it returns the record to test")

    @pytest.fixture(params=PRIORS.keys())
    def prior(self, request: pytest.FixtureRequest) -> str:
        """Return the short name of a prior."""
        return request.param

    def tensors(self, record: ModelRecord, n_batches: int = 2) -> Tensors:
        """Return at least 2 N points."""
        return _tensors(record.kind, n_batches)

    def networks(self, record: ModelRecord) -> Any:
        """Return sizes with P latent dimensions."""
        return NETWORKS[record.kind]

    def batch(self, record: ModelRecord, first: int = 0, n: int = N, n_batches: int = 2) -> Any:
        """Return a batch in double precision."""
        rows = torch.arange(first, first + n)
        return _double(self.tensors(record, n_batches).batch(rows))

    def initial(self, record: ModelRecord, seed: int = 0, n_batches: int = 2) -> Any:
        """Return untrained networks without a prior."""
        generator = torch.Generator().manual_seed(seed)
        tensors = self.tensors(record, n_batches)
        return resolve(record.cls).for_data(tensors, self.networks(record), generator)

    def trained(
        self, record: ModelRecord, prior: str = "normal", seed: int = 0, n_batches: int = 2
    ) -> LatentVariableModel:
        """Return a model with parameters as training might leave them, in double precision."""
        model = self.initial(record, seed, n_batches).double()
        pseudo_inputs = model.initial_pseudo_inputs(self.batch(record, seed, K, n_batches))
        generator = torch.Generator().manual_seed(seed)
        given = pseudo_inputs if PRIORS[prior].has_pseudo_inputs else None
        model.prior = make_prior(prior, P, K, given, generator).double()
        with torch.no_grad():
            for number, parameter in enumerate(model.parameters()):
                parameter.add_(0.2 * draw(100 * seed + number, *parameter.shape))
            noise = _noise(model)
            for first in (0, 3):  # moves running statistics, if there are any
                model.elbo(self.batch(record, first, n_batches=n_batches), noise, training=True)
        return model

    # The record, and how a model is made

    def test_the_record_is_complete(self, record: ModelRecord) -> None:
        """A name that can stand in a table's row, a class, and what gives the networks' sizes."""
        assert re.fullmatch(r"[A-Za-z0-9_-]+", record.name)
        assert issubclass(resolve(record.cls), LatentVariableModel)
        assert isinstance(resolve(record.cls).cluster_by_sample, bool)
        assert is_dataclass(record.networks)
        assert isinstance(self.networks(record), record.networks)

    def test_networks_are_made_for_data(self, record: ModelRecord) -> None:
        """By the generator only: the same seed, the same weights, in single precision."""
        with global_state_untouched():
            first, again = self.initial(record), self.initial(record)
        assert first.latent_dim == P
        assert getattr(first, "prior", None) is None
        state, other = first.state_dict(), self.initial(record, seed=1).state_dict()
        assert _same(state, again.state_dict()) and not _same(state, other)
        assert {value.dtype for value in first.parameters()} == {torch.float32}

    # Shapes

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    def test_shapes_and_precision(
        self, record: ModelRecord, prior: str, dtype: torch.dtype
    ) -> None:
        """Of all that a model returns."""
        model = self.trained(record, prior).to(dtype)
        for name, value in _everything(model, _to(self.batch(record), dtype=dtype)).items():
            assert value.shape == SHAPES[name], name
            assert value.dtype == dtype, name
            assert torch.isfinite(value).all(), name

    def test_it_works_on_the_meta_device(self, record: ModelRecord, prior: str) -> None:
        """Shapes only: no value decides what is computed, and none is fetched from the device."""
        model = self.trained(record, prior).float().to("meta")
        batch = _to(self.batch(record), dtype=torch.float32, device="meta")
        for name, value in _everything(model, batch).items():
            assert value.shape == SHAPES[name], name
            assert value.device.type == "meta", name

    # Values

    @pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
    @torch.no_grad()
    def test_the_elbo_is_likelihood_minus_kl(
        self, record: ModelRecord, prior: str, training: bool
    ) -> None:
        """With one sample of z; weight 0 leaves the KL out."""
        model, batch = self.trained(record, prior), self.batch(record)
        noise = _noise(model)
        q = model.posterior(batch, training, noise)
        z = q.rsample(noise["latent"])
        likelihood = model.log_likelihood(batch, z, training)
        for weight in (1.0, 0.5, 0.0):
            own = self.trained(record, prior)
            elbo = own.elbo(batch, noise, training, weight)
            # In training, the statistics that encode the pseudo-inputs move with the batch.
            kl = own.prior.kl(q, z, own.encode_pseudo_inputs)
            torch.testing.assert_close(elbo, likelihood - weight * kl)

    @torch.no_grad()
    def test_in_evaluation_a_point_is_by_itself(self, record: ModelRecord) -> None:
        """Its values do not depend on the batch that it is in, and no statistics move."""
        model, batch = self.trained(record), self.batch(record)
        before, noise = _state(model), _noise(model)
        together = model.posterior(batch), model.elbo(batch, noise)
        for point in range(N):
            alone = tree_map(lambda value, row=point: value[row : row + 1], batch)
            own = {key: value[point : point + 1] for key, value in noise.items()}
            torch.testing.assert_close(model.posterior(alone).mean, together[0].mean[point, None])
            torch.testing.assert_close(model.elbo(alone, own), together[1][point, None])
        pseudo_inputs = model.initial_pseudo_inputs(batch)
        encoded = model.encode_pseudo_inputs(pseudo_inputs).mean
        torch.testing.assert_close(model.encode_pseudo_inputs(pseudo_inputs[:1]).mean, encoded[:1])
        assert _same(before, model.state_dict())

    @torch.no_grad()
    def test_noise_is_of_training_only(self, record: ModelRecord) -> None:
        """But for the sample of z: in evaluation, no dropout acts."""
        model, batch = self.trained(record), self.batch(record)
        noise, other = _noise(model), _noise(model, seed=1)
        posteriors = [model.posterior(batch, noise=own) for own in (None, noise, other)]
        for q in posteriors[1:]:
            assert torch.equal(q.mean, posteriors[0].mean)

    @torch.no_grad()
    def test_initial_pseudo_inputs_stand_for_the_batch(self, record: ModelRecord) -> None:
        """Of data of one batch they are encoded as the points are; among others, closest to them.

        Where data have several batches, a pseudo-input may be of none of them.
        """
        model, batch = self.trained(record, n_batches=1), self.batch(record, n_batches=1)
        q = model.posterior(batch)
        encoded = model.encode_pseudo_inputs(model.initial_pseudo_inputs(batch))
        torch.testing.assert_close(encoded.mean, q.mean, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(encoded.covariance(), q.covariance(), rtol=1e-5, atol=1e-5)

    # Purity, gradients, stacks

    @pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
    def test_it_is_a_pure_function_of_noise(
        self, record: ModelRecord, prior: str, training: bool
    ) -> None:
        """Nothing is drawn from global state, no input and no parameter is changed."""
        model, batch = self.trained(record, prior), self.batch(record)
        before = {name: value.detach().clone() for name, value in model.named_parameters()}
        with global_state_untouched():
            noise, again = _noise(model), _noise(model)
            first = copy.deepcopy(model).elbo(batch, noise, training)
            second = model.elbo(batch, again, training)
        assert torch.equal(first, second)
        assert _same(before, dict(model.named_parameters()))
        assert _same(noise, _noise(model)), "noise was changed"
        given = zip(tree_leaves(batch), tree_leaves(self.batch(record)), strict=True)
        assert all(torch.equal(*pair) for pair in given), "the batch was changed"
        assert not torch.equal(first, model.elbo(batch, _noise(model, seed=1), training))

    @pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
    def test_gradients_by_finite_differences(
        self, record: ModelRecord, prior: str, training: bool
    ) -> None:
        """Of the ELBO, for all parameters along random directions."""
        if training and PRIORS[prior].has_pseudo_inputs:
            return  # the statistics that encode them move, and count as constants
        model, batch = self.trained(record, prior), self.batch(record)
        noise = _noise(model)
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        directions = [draw(50 + i, *p.shape) for i, p in enumerate(named.values())]

        def elbo(steps: Tensor) -> Tensor:
            values = {
                name: p.detach() + step * direction
                for (name, p), step, direction in zip(named.items(), steps, directions, strict=True)
            }
            inputs = (LatentVariableModel.elbo, batch, noise, training)
            return functional_call(copy.deepcopy(model), values, inputs)

        steps = torch.zeros(len(named), dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(elbo, (steps,), eps=1e-7, atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
    def test_stacked_is_one_by_one(self, record: ModelRecord, prior: str, training: bool) -> None:
        """ELBOs, prior losses and their gradients under `torch.func.vmap`; statistics too."""
        alone = [self.trained(record, prior, seed) for seed in range(3)]
        stacked = StackedModel([copy.deepcopy(model) for model in alone])
        batches = [self.batch(record, first) for first in range(3)]
        noises = [_noise(model, seed) for seed, model in enumerate(alone)]
        batch, noise = _stack(batches), _stack(noises)
        each = zip(alone, batches, noises, strict=True)
        values = [model.elbo(one, own, training) for model, one, own in each]
        self._compare(stacked, alone, stacked.elbo(batch, noise, training), values)
        if alone[0].prior.empirical_bayes_parameters():
            z_noise = draw(5, 3, N, P)
            steps = zip(alone, batches, z_noise, strict=True)
            losses = [model.prior_loss(one, own) for model, one, own in steps]
            self._compare(stacked, alone, stacked.prior_loss(batch, z_noise), losses)

    @staticmethod
    def _compare(
        stacked: StackedModel,
        alone: list[LatentVariableModel],
        together: Tensor,
        one_by_one: list[Tensor],
    ) -> None:
        """Assert equal values, gradients, and what else the models hold."""
        torch.testing.assert_close(together, torch.stack(one_by_one), rtol=1e-8, atol=1e-8)
        wanted = [name for name, value in stacked.tensors.items() if value.requires_grad]
        gradients = _gradients(together, [stacked.tensors[name] for name in wanted])
        own = [dict(model.named_parameters()) for model in alone]
        expected = [
            _gradients(value, [parameters[name] for name in wanted])
            for value, parameters in zip(one_by_one, own, strict=True)
        ]
        for gradient, *singles in zip(gradients, *expected, strict=True):
            torch.testing.assert_close(gradient, torch.stack(singles), rtol=1e-7, atol=1e-7)
        for name, value in stacked.tensors.items():
            held = torch.stack([model.state_dict()[name] for model in alone])
            torch.testing.assert_close(value.detach(), held, rtol=1e-9, atol=1e-9)

    # Fitting and saving

    def test_each_parameter_is_fitted_by_one_step(self, record: ModelRecord, prior: str) -> None:
        """All of the networks by the variational one, with what the prior wants."""
        model = self.trained(record, prior)
        fitted = [*model.variational_parameters(), *model.prior.empirical_bayes_parameters()]
        wanted = {id(p) for p in model.parameters() if p.requires_grad}
        assert len({id(p) for p in fitted}) == len(fitted)
        assert {id(p) for p in fitted} == wanted

    def test_every_parameter_of_the_networks_has_a_gradient(self, record: ModelRecord) -> None:
        """Of the ELBO: none is made for nothing."""
        model = self.trained(record)
        networks = {n: p for n, p in model.named_parameters() if not n.startswith("prior.")}
        elbo = model.elbo(self.batch(record), _noise(model)).sum()
        gradients = torch.autograd.grad(elbo, list(networks.values()), allow_unused=True)
        for name, gradient in zip(networks, gradients, strict=True):
            assert gradient is not None and gradient.abs().max() > 0, name

    def test_the_prior_loss_leaves_the_networks_alone(
        self, record: ModelRecord, prior: str
    ) -> None:
        """It is a loss of a z that is held, in evaluation mode, without a trace in the model."""
        model, batch = self.trained(record, prior), self.batch(record)
        fitted = model.prior.empirical_bayes_parameters()
        if not fitted:
            with pytest.raises(TypeError):
                model.prior_loss(batch, draw(6, N, P))
            return
        before = _state(model)
        loss = model.prior_loss(batch, draw(6, N, P))
        assert loss.shape == ()
        assert all(gradient.abs().max() > 0 for gradient in _gradients(loss, fitted))
        assert _same(before, model.state_dict())

    @torch.no_grad()
    def test_it_is_saved_and_loaded(self, record: ModelRecord, prior: str) -> None:
        """By its state, running statistics with it, to the bit."""
        model, other = self.trained(record, prior), self.trained(record, prior, seed=1)
        file = io.BytesIO()
        torch.save(model.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        batch = self.batch(record)
        assert _same(_everything(model, batch), _everything(other, batch))


def _noise(model: LatentVariableModel, seed: int = 0) -> Noise:
    """Return the random numbers of one step, in double precision."""
    noise = model.draw_noise(N, torch.Generator().manual_seed(seed), "cpu")
    return {name: value.double() for name, value in noise.items()}


def _everything(model: LatentVariableModel, batch: Any) -> dict[str, Tensor]:
    """Return all that a model computes, by name."""
    example = next(iter(tree_leaves(batch)))
    noise = _to(_noise(model), dtype=example.dtype, device=example.device)
    q = model.posterior(batch)
    z = q.rsample(noise["latent"])
    pseudo_inputs = model.initial_pseudo_inputs(batch)
    encoded = model.encode_pseudo_inputs(pseudo_inputs)
    values = {
        "mean": q.mean,
        "covariance": q.covariance(),
        "z": z,
        "log_likelihood": model.log_likelihood(batch, z),
        "encoded mean": encoded.mean,
        "encoded covariance": encoded.covariance(),
        "elbo": model.elbo(batch, noise),
    }
    if model.prior.empirical_bayes_parameters():
        values["prior_loss"] = model.prior_loss(batch, noise["latent"])
    return values


SHAPES = {
    "mean": (N, P),
    "covariance": (N, P, P),
    "z": (N, P),
    "log_likelihood": (N,),
    "encoded mean": (N, P),
    "encoded covariance": (N, P, P),
    "elbo": (N,),
    "prior_loss": (),
}


def _to(values: Any, **where: Any) -> Any:
    return tree_map(lambda value: value.to(**where), values)


def _double(values: Any) -> Any:
    return _to(values, dtype=torch.float64)


def _stack(values: Any) -> Any:
    """Return batches, or noises, as one with a first dimension in front."""
    leaves, structures = zip(*map(tree_flatten, values), strict=True)
    return tree_unflatten([torch.stack(own) for own in zip(*leaves, strict=True)], structures[0])


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _gradients(values: Tensor, inputs: list[Any]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        values.sum(), inputs, allow_unused=True, materialize_grads=True, retain_graph=True
    )


def _same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Return whether tensors are equal to the bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
