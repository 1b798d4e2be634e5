"""What any prior must keep: a complete record, and a density that agrees with its samples.

Inherit :class:`PriorContract` and give it a record, registered or not::

    class TestMine(PriorContract):
        @pytest.fixture
        def record(self):
            return PriorRecord("mine", "my_module:MyPrior", "Mine", "#123456", "By me (2024).")

Values are tested in double precision, with parameters as training might leave them, and with both
kinds of posteriors. Where a mean over samples is tested, it may be 5 standard errors away.
"""

from __future__ import annotations

import inspect
import io
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from vmm.lazy import resolve
from vmm.numerics.gaussians import LOG_2PI, DiagonalNormal, FullRankNormal, Normal
from vmm.priors.base import Encode, Prior
from vmm.priors.records import PRIORS, PriorRecord
from vmm.testing.randomness import draw, global_state_untouched

N, K, P, DATA_DIM = 4, 3, 2, 5
"""Points, components, dimensions of the latent space and of pseudo-inputs."""
MANY = 20_000
"""Samples."""

Family = Callable[[Tensor, Tensor], Normal]
"""Maps means (..., p) and unconstrained scales (..., p, p) to posteriors."""


def diagonal(mean: Tensor, raw: Tensor) -> DiagonalNormal:
    """Return diagonal normals; the diagonals of `raw` count."""
    return DiagonalNormal(mean, _scale(raw))


def full_rank(mean: Tensor, raw: Tensor) -> FullRankNormal:
    """Return full-rank normals; the lower triangles of `raw` count."""
    return FullRankNormal(mean, 0.3 * raw.tril(-1) + torch.diag_embed(_scale(raw)))


def _scale(raw: Tensor) -> Tensor:
    return 0.6 * (0.3 * raw.diagonal(dim1=-2, dim2=-1)).exp()


def encoder(family: Family, latent_dim: int = P) -> Encode:
    """Return a smooth encoder of pseudo-inputs, of any precision and on any device."""
    n_outputs = latent_dim + latent_dim**2
    weights = draw(1, DATA_DIM, n_outputs)

    def encode(pseudo_inputs: Tensor) -> Normal:
        output = pseudo_inputs @ weights.to(pseudo_inputs.device, pseudo_inputs.dtype)
        mean, raw = output.tanh().split([latent_dim, latent_dim**2], -1)
        return family(2 * mean, raw.unflatten(-1, (latent_dim, latent_dim)))

    return encode


class PriorContract:
    """Tests of one prior and its record."""

    @pytest.fixture
    def record(self) -> PriorRecord:
        """Return the record; to be overridden."""
        raise NotImplementedError("define the fixture `record`: it returns the record to test")

    @pytest.fixture(params=[diagonal, full_rank], ids=["diagonal", "full-rank"])
    def family(self, request: pytest.FixtureRequest) -> Family:
        """Return what makes posteriors, of points and of pseudo-inputs."""
        return request.param

    def initial(
        self, record: PriorRecord, latent_dim: int = P, seed: int = 0, **options: Any
    ) -> Prior:
        """Return the prior that a training starts from, with K components."""
        cls = resolve(record.cls)
        pseudo_inputs = draw(seed, K, DATA_DIM).float() if cls.has_pseudo_inputs else None
        generator = torch.Generator().manual_seed(seed)
        return cls.initial(latent_dim, K, pseudo_inputs, generator, **options)

    def trained(self, record: PriorRecord, latent_dim: int = P, seed: int = 0) -> Prior:
        """Return the prior with parameters as training might leave them, in double precision."""
        prior = self.initial(record, latent_dim, seed).double()
        with torch.no_grad():
            for number, parameter in enumerate(prior.parameters()):
                parameter.add_(0.5 * draw(100 * seed + number, *parameter.shape))
        return prior

    # The record

    def test_the_record_is_complete(self, record: PriorRecord) -> None:
        """A short name of its own and words that can be printed."""
        assert re.fullmatch(r"[a-z0-9_]+", record.name)
        assert PRIORS.get(record.name, record) == record, "the name is another prior's"
        assert issubclass(resolve(record.cls), Prior)
        assert record.label.strip()
        assert re.fullmatch(r"#[0-9a-f]{6}", record.colour)
        assert record.about.endswith(".") and "\n" not in record.about
        assert record.kinds and set(record.kinds) <= {"images", "cells"}
        assert not re.search(r"[/\s]", record.model + record.prior)

    def test_the_record_says_what_the_class_does(self, record: PriorRecord) -> None:
        """Components, pseudo-inputs, what it starts from and how it is fitted."""
        prior = self.initial(record)
        assert prior.latent_dim == P
        assert prior.n_components == (K if record.clusters else 0)
        assert record.has_pseudo_inputs == prior.has_pseudo_inputs
        assert record.has_pseudo_inputs == (prior.pseudo_inputs is not None)
        assert record.starts_from_data == prior.starts_from_data
        assert record.starts_from_data or not record.has_pseudo_inputs, "these are data points"
        assert record.clusters or not record.starts_from_data, "as many as it has components"
        assert record.empirical_bayes == bool(prior.empirical_bayes_parameters())

    def test_options_are_those_of_the_class(self, record: PriorRecord) -> None:
        """Each is taken, with its default; others are refused."""
        cls = resolve(record.cls)
        for option in record.options_for("cells"):
            given = self.initial(record, **{option: _default(cls, option)})
            assert _same(given.state_dict(), self.initial(record).state_dict())
        with pytest.raises(TypeError):
            self.initial(record, no_such_option=1)

    # Shapes

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
    def test_shapes_and_precision(
        self, record: PriorRecord, family: Family, dtype: torch.dtype
    ) -> None:
        """Of all that a prior returns."""
        prior = self.trained(record).to(dtype)
        mean, raw, noise = (value.to(dtype) for value in _points())
        for name, value in _everything(prior, family, mean, raw, noise).items():
            assert value.shape == _shapes(prior)[name], name
            assert value.dtype == dtype, name
            assert torch.isfinite(value).all(), name

    def test_it_works_on_the_meta_device(self, record: PriorRecord, family: Family) -> None:
        """Shapes only: no value decides what is computed, and none is fetched from the device."""
        prior = self.trained(record).float().to("meta")
        mean, raw, noise = (value.float().to("meta") for value in _points())
        for name, value in _everything(prior, family, mean, raw, noise).items():
            assert value.shape == _shapes(prior)[name], name
            assert value.device.type == "meta", f"{name} is not on the device of the prior"

    def test_far_away_all_is_finite(self, record: PriorRecord, family: Family) -> None:
        """Values and gradients in single precision, 1000 standard deviations away."""
        prior = self.initial(record)
        mean, raw, noise = (value.float() for value in _points())
        mean = (mean + 1e3).requires_grad_()
        for name, function in _functions(prior, family).items():
            value = function(prior, mean, raw, noise)
            assert torch.isfinite(value).all(), name
            parameters = [mean, *(p for p in prior.parameters() if p.requires_grad)]
            gradients = torch.autograd.grad(
                value.sum(), parameters, allow_unused=True, materialize_grads=True
            )
            assert all(torch.isfinite(gradient).all() for gradient in gradients), name

    # Density and samples

    @torch.no_grad()
    def test_the_density_in_one_dimension(self, record: PriorRecord, family: Family) -> None:
        """It integrates to 1 within 1e-6, and to the samples' distribution (Kolmogorov-Smirnov)."""
        prior, encode = self.trained(record, 1), encoder(family, 1)
        t = torch.linspace(-25, 25, 50_001, dtype=torch.float64)  # z = sinh t: heavy tails too
        density = prior.log_prob(t.sinh().unsqueeze(-1), encode).exp() * t.cosh()
        distribution = torch.cumulative_trapezoid(density, t)
        assert abs(distribution[-1] - 1) < 1e-6
        z = _samples(prior, encode).flatten().sort().values
        expected = np.interp(z.asinh(), t[1:], distribution)
        distance = abs(expected - (np.arange(MANY) + 0.5) / MANY).max()
        assert distance * math.sqrt(MANY) < 2  # of a right density once in 1500 times

    @torch.no_grad()
    def test_the_density_in_two_dimensions(self, record: PriorRecord, family: Family) -> None:
        """It integrates to 1 within 1e-4."""
        t = torch.linspace(-8, 8, 801, dtype=torch.float64)
        z = torch.cartesian_prod(t.sinh(), t.sinh())
        volume = torch.cartesian_prod(t.cosh(), t.cosh()).prod(-1)
        density = self.trained(record, 2).log_prob(z, encoder(family, 2)).exp() * volume
        assert abs(float(density.sum()) * float(t[1] - t[0]) ** 2 - 1) < 1e-4

    @torch.no_grad()
    def test_the_density_in_four_dimensions(self, record: PriorRecord, family: Family) -> None:
        """Over samples of p(z), the mean of g(z) / p(z) is 1 for normals g in each component.

        These are narrower than the component, so that the ratio is bounded.
        """
        prior, encode = self.trained(record, 4), encoder(family, 4)
        z = _samples(prior, encode)
        log_prob = prior.log_prob(z, encode)
        for mean, covariance in zip(*prior.moments(encode), strict=True):
            normal = FullRankNormal(mean, torch.linalg.cholesky(covariance / 2))
            _assert_mean((normal.log_prob(z) - log_prob).exp(), 1, largest_error=0.1)

    @torch.no_grad()
    def test_samples_have_the_moments(self, record: PriorRecord, family: Family) -> None:
        """Of each component."""
        prior, encode = self.trained(record, 3), encoder(family, 3)
        moments = zip(*prior.moments(encode), strict=True)
        for component, (mean, covariance) in enumerate(moments):
            chosen = torch.full((MANY,), component)
            residual = prior.sample_component(chosen, draw(7, MANY, 3), encode) - mean
            _assert_mean(residual, 0)
            _assert_mean(residual.unsqueeze(-1) * residual.unsqueeze(-2), covariance)

    @torch.no_grad()
    def test_who_says_to_be_standard_normal_is(self, record: PriorRecord, family: Family) -> None:
        """And nobody else."""
        prior, z = self.trained(record), 3 * draw(14, N, P)
        log_prob = -0.5 * (z.square() + LOG_2PI).sum(-1)
        same = torch.allclose(prior.log_prob(z, encoder(family)), log_prob)
        assert same == prior.is_standard_normal

    @torch.no_grad()
    def test_weights_and_cluster_probabilities_sum_to_one(
        self, record: PriorRecord, family: Family
    ) -> None:
        """A prior that does not cluster has one component and no cluster probabilities."""
        prior, encode = self.trained(record), encoder(family)
        assert abs(float(prior.log_weights().logsumexp(0))) < 1e-12
        z = 3 * draw(8, N, P)
        if record.clusters:
            sums = prior.cluster_log_probs(z, encode).logsumexp(-1)
            torch.testing.assert_close(sums, torch.zeros_like(sums))
        else:
            with pytest.raises(TypeError):
                prior.cluster_log_probs(z, encode)

    @torch.no_grad()
    def test_kl_is_the_divergence_on_average(self, record: PriorRecord, family: Family) -> None:
        """Of z; or of z and its cluster c, with q(c) held while z is integrated over.

        The latter is larger by Σ_j Cov(q(c=j), log q(c=j)) if q(c=j) = p(c=j|z).
        """
        prior, encode = self.trained(record), encoder(family)
        mean, raw, _ = _points()
        for one, own in zip(mean, raw, strict=True):
            q = family(one.expand(MANY, P), own.expand(MANY, P, P))
            z = q.rsample(draw(9, MANY, P))
            excess = prior.kl(q, z, encode) - q.log_prob(z) + prior.log_prob(z, encode)
            if not _is_mean(excess, 0):
                assert record.clusters
                log_probs = prior.cluster_log_probs(z, encode)
                centred = (log_probs.exp() - log_probs.exp().mean(0)) * log_probs
                _assert_mean(excess - centred.sum(-1), 0)

    # Gradients, and how it is called

    def test_gradients_by_finite_differences(self, record: PriorRecord, family: Family) -> None:
        """For posteriors (z with them), parameters and pseudo-inputs."""
        prior = self.trained(record)
        mean, raw, noise = _points()
        names, values = _parameters(prior)
        for name, function in _functions(prior, family).items():

            def called(mean, raw, *values, function=function):
                own = dict(zip(names, values, strict=True))
                return _called(prior, own, function, mean, raw, noise)

            inputs = (mean.requires_grad_(), raw.requires_grad_(), *values)
            assert torch.autograd.gradcheck(called, inputs), name

    def test_stacked_is_one_by_one(self, record: PriorRecord, family: Family) -> None:
        """Under `torch.func.vmap`: values and gradients."""
        priors = [self.trained(record, seed=seed) for seed in range(3)]
        names, _ = _parameters(priors[0])
        each = [(*_parameters(prior)[1], *_points(seed)) for seed, prior in enumerate(priors)]
        inputs = [torch.stack(own).detach().requires_grad_() for own in zip(*each, strict=True)]
        for function in _functions(priors[0], family).values():

            def one(*inputs, function=function):
                values = dict(zip(names, inputs, strict=False))
                return _called(priors[0], values, function, *inputs[len(names) :])

            together = vmap(one)(*inputs)
            alone = torch.stack([one(*values) for values in zip(*inputs, strict=True)])
            torch.testing.assert_close(together, alone, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(
                *(_gradients(values, inputs) for values in (together, alone)), rtol=1e-9, atol=1e-9
            )

    def test_it_is_a_pure_function(self, record: PriorRecord, family: Family) -> None:
        """Nothing is drawn from global state, kept, or changed in place."""
        with global_state_untouched():
            first, again = self.initial(record), self.initial(record)
            assert _same(first.state_dict(), again.state_dict()), "initial values are not seeded"
            prior, given = self.trained(record), _points()
            before = {key: value.clone() for key, value in prior.state_dict().items()}
            values = _everything(prior, family, *given)
            repeated = _everything(prior, family, *given)
        assert _same(values, repeated)
        assert _same(before, prior.state_dict()), "a parameter was changed"
        assert all(map(torch.equal, given, _points())), "an input was changed"

    def test_pseudo_inputs_are_copied(self, record: PriorRecord) -> None:
        """Fitting them leaves the tensor alone that they started from."""
        if record.has_pseudo_inputs:
            given = draw(0, K, DATA_DIM)
            prior = resolve(record.cls).initial(P, K, given, None)
            with torch.no_grad():
                prior.pseudo_inputs.add_(1)
            assert torch.equal(given, draw(0, K, DATA_DIM))

    def test_it_is_saved_and_loaded(self, record: PriorRecord, family: Family) -> None:
        """By its state, to the bit."""
        prior, other = self.trained(record), self.trained(record, seed=1)
        file = io.BytesIO()
        torch.save(prior.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True))
        points = _points()
        assert _same(_everything(prior, family, *points), _everything(other, family, *points))

    # Fitting

    def test_each_parameter_is_fitted_by_one_step(self, record: PriorRecord) -> None:
        """The variational or the Empirical Bayes one; together they fit all."""
        prior = self.initial(record)
        fitted = [*prior.variational_parameters(), *prior.empirical_bayes_parameters()]
        wanted = [parameter for parameter in prior.parameters() if parameter.requires_grad]
        assert len({id(parameter) for parameter in fitted}) == len(fitted)
        assert {id(parameter) for parameter in fitted} == {id(parameter) for parameter in wanted}

    def test_the_prior_step_is_for_those_that_have_one(
        self, record: PriorRecord, family: Family
    ) -> None:
        """Steps down its gradient lessen its loss; others have none."""
        prior, encode, z = self.trained(record), encoder(family), 2 * draw(10, 50, P)
        if not record.empirical_bayes:
            with pytest.raises(TypeError):
                prior.prior_step_loss(z, encode)
            return
        optimizer = torch.optim.SGD(prior.empirical_bayes_parameters(), lr=1e-3)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = prior.prior_step_loss(z, encode)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses == sorted(losses, reverse=True)

    def test_components_can_sleep(self, record: PriorRecord, family: Family) -> None:
        """The density falls by their part of it, and π stays that of all."""
        prior, encode, z = self.trained(record), encoder(family), 2 * draw(14, N, P)
        order = torch.tensor([2, 0, 1])
        if not prior.can_sleep:
            return
        each = [prior.points_of_components(point, encode) for point in z.split(1)]
        whole = prior.points_of_components(z, encode)
        torch.testing.assert_close(torch.stack(each).sum(0), whole)
        torch.testing.assert_close(whole.sum(-1), torch.full_like(whole[:, 0], N))
        narrow, padded = prior.narrowed(order, 2), prior.narrowed(order, 3, 2)
        left = torch.stack([parts[-1, order[:2]].sum() for parts in each])
        torch.testing.assert_close(
            narrow.log_prob(z, encode), prior.log_prob(z, encode) + left.log()
        )
        torch.testing.assert_close(narrow.log_weights(), prior.log_weights()[order])
        # Those that are computed in vain have no part in values, nor in what is fitted.
        torch.testing.assert_close(padded.log_prob(z, encode), narrow.log_prob(z, encode))
        psi = [one.empirical_bayes_parameters() for one in (narrow, padded)]
        losses = [one.prior_step_loss(z, encode) for one in (narrow, padded)]
        gradients = [_gradients(loss, of) for loss, of in zip(losses, psi, strict=True)]
        for ours, others in zip(*gradients, strict=True):
            rows = others[:2] if others.dim() > 1 else others
            torch.testing.assert_close(ours, rows)

    def test_a_pretrained_prior_starts_from_samples(self, record: PriorRecord) -> None:
        """It comes close to them, by its seed only; others have no pre-training."""
        z = torch.cat([draw(11, 60, P) / 4 + centre for centre in (-3, 0, 3)]).float()
        prior, again = self.initial(record), self.initial(record)
        asked = prior.pretraining(128)
        if asked is None:
            with pytest.raises(TypeError):
                prior.start_from(z, 0)
            return
        assert asked.learning_rate > 0 and isinstance(asked.epochs, int) and asked.epochs > 0
        before = prior.log_prob(z, encoder(diagonal)).mean()
        again.start_from(z, 0)  # what is imported may use the global state
        with global_state_untouched():
            prior.start_from(z, 0)
        assert _same(prior.state_dict(), again.state_dict())
        assert prior.log_prob(z, encoder(diagonal)).mean() > before

    def test_hyperparameters_can_be_read(self, record: PriorRecord) -> None:
        """They are finite numbers with a name."""
        for name, value in self.trained(record).hyperparameters().items():
            assert name.isidentifier()
            assert type(value) is float and math.isfinite(value)


def _points(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return means (N, p), unconstrained scales (N, p, p) and noise (N, p) of posteriors."""
    return draw(20 + seed, N, P), draw(30 + seed, N, P, P), draw(40 + seed, N, P)


def _functions(prior: Prior, family: Family) -> dict[str, Callable[..., Tensor]]:
    """Return what has gradients, as functions of the prior and :func:`_points`, by name."""
    encode = encoder(family)

    def at_a_sample(name: str) -> Callable[..., Tensor]:
        def function(prior: Prior, mean: Tensor, raw: Tensor, noise: Tensor) -> Tensor:
            return getattr(prior, name)(family(mean, raw).rsample(noise), encode)

        return function

    def kl(prior: Prior, mean: Tensor, raw: Tensor, noise: Tensor) -> Tensor:
        q = family(mean, raw)
        return prior.kl(q, q.rsample(noise), encode)

    names = ["log_prob"]
    names += ["cluster_log_probs"] if prior.n_components else []
    names += ["prior_step_loss"] if prior.empirical_bayes_parameters() else []
    return {"kl": kl} | {name: at_a_sample(name) for name in names}


def _everything(
    prior: Prior, family: Family, mean: Tensor, raw: Tensor, noise: Tensor
) -> dict[str, Tensor]:
    """Return all that a prior computes, by name."""
    functions, encode = _functions(prior, family), encoder(family)
    values = {name: call(prior, mean, raw, noise) for name, call in functions.items()}
    component = torch.zeros(N, dtype=torch.long, device=mean.device)
    means, covariances = prior.moments(encode)
    return values | {
        "log_weights": prior.log_weights(),
        "means": means,
        "covariances": covariances,
        "sample_component": prior.sample_component(component, noise, encode),
    }


def _shapes(prior: Prior) -> dict[str, tuple[int, ...]]:
    n_components = prior.n_components or 1
    return {
        "log_prob": (N,),
        "kl": (N,),
        "cluster_log_probs": (N, n_components),
        "prior_step_loss": (),
        "log_weights": (n_components,),
        "means": (n_components, P),
        "covariances": (n_components, P, P),
        "sample_component": (N, P),
    }


def _samples(prior: Prior, encode: Encode) -> Tensor:
    """Return samples of p(z), shape (MANY, p)."""
    generator = torch.Generator().manual_seed(12)
    weights = prior.log_weights().exp()
    component = torch.multinomial(weights, MANY, replacement=True, generator=generator)
    return prior.sample_component(component, draw(13, MANY, prior.latent_dim), encode)


def _is_mean(values: Tensor, expected: Any, largest_error: float = math.inf) -> bool:
    """Return whether the mean over the first dimension is as expected, by its standard error."""
    error = values.std(0) / math.sqrt(len(values))
    assert (error < largest_error).all(), f"too few samples: a standard error is {error.max():.3g}"
    return bool(((values.mean(0) - expected).abs() <= 5 * error + 1e-9).all())


def _assert_mean(values: Tensor, expected: Any, largest_error: float = math.inf) -> None:
    assert _is_mean(values, expected, largest_error), (values.mean(0), expected)


def _parameters(prior: Prior) -> tuple[list[str], list[Tensor]]:
    """Return the names and values of all parameters that are fitted."""
    named = {name: p for name, p in prior.named_parameters() if p.requires_grad}
    return list(named), list(named.values())


class _Called(nn.Module):
    """A prior whose functions can be called with parameters of their own."""

    def __init__(self, prior: Prior):
        super().__init__()
        self.prior = prior

    def forward(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return ``function(prior, *inputs)``."""
        return function(self.prior, *inputs)


def _called(
    prior: Prior, values: dict[str, Tensor], function: Callable[..., Tensor], *inputs: Tensor
) -> Tensor:
    """Return ``function(prior, *inputs)`` with these values of the prior's parameters."""
    own = {f"prior.{name}": value for name, value in values.items()}
    return functional_call(_Called(prior), own, (function, *inputs))


def _gradients(values: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(values.sum(), inputs, allow_unused=True, materialize_grads=True)


def _same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    """Return whether tensors are equal to the bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def _default(cls: type[Prior], option: str) -> Any:
    """Return the default of an argument, which the class may hand on to one that it is made of."""
    for one in cls.__mro__:
        parameters = inspect.signature(one).parameters
        if option in parameters:
            return parameters[option].default
    raise AssertionError(f"{cls.__name__} has no argument {option}")
