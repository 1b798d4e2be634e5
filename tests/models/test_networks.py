"""Linear layers with less precise products: what is less precise, and what is not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from dispatch import observed
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from trainings import KINDS, PRIORS, make_data, make_model, noise_for

from vmm.models.networks import (
    HiddenLayer,
    Linear,
    PositiveTriangle,
    linear,
    matrix_products,
    with_stackable_layers,
)
from vmm.numerics.gaussians import positive_cholesky
from vmm.numerics.products import affine, stackable_affine, without_onednn

aten = torch.ops.aten
LAYOUT = {"aten::t", "aten::transpose.int", "aten::detach", "aten::alias", "aten::_to_copy"}
PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}


def tf32() -> bool:
    return torch.backends.cuda.matmul.fp32_precision == "tf32"


class Seen(TorchDispatchMode):
    """Collects for each operator: name, whether bfloat16 goes in or comes out, whether TF32 is on,
    and whether an argument is a weight of a layer."""

    def __init__(self, model):
        super().__init__()
        layers = [m for m in model.modules() if isinstance(m, Linear)]
        self.weights = {m.weight.untyped_storage().data_ptr() for m in layers}
        self.n_layers = len(layers)
        self.found: list[tuple[str, bool, bool, bool]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, result)) if isinstance(t, torch.Tensor)]
        bf16 = any(t.dtype == torch.bfloat16 for t in tensors)
        weight = any(t.untyped_storage().data_ptr() in self.weights for t in tensors)
        self.found.append((func.name(), bf16, tf32(), weight))
        return result


def observed_step(kind: str, prior: str, precision: str) -> Seen:
    """Observe the forward and backward passes of all steps of Algorithm 1."""
    model = make_model(kind, prior)
    data, _ = make_data(kind)
    batch, noise = data.batch(torch.arange(20)), noise_for(model, 20)
    seen = Seen(model)
    parameters = model.variational_parameters()
    with matrix_products(model, precision), without_onednn(), seen:
        elbo = model.elbo(batch, noise, training=True).mean()
        torch.autograd.grad(elbo, parameters, allow_unused=True)
        if psi := model.prior.empirical_bayes_parameters():
            z = model.posterior(batch).rsample(noise["latent"]).detach()
            loss = model.prior.prior_step_loss(z, model.encode_pseudo_inputs)
            torch.autograd.grad(loss, psi)
    return seen


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_products_of_layers_are_bf16(kind, prior):
    """Nothing but casts, transpositions and matrix products sees a bfloat16."""
    seen = observed_step(kind, prior, "bf16")
    low = {name for name, bf16, _, _ in seen.found if bf16}
    assert "aten::mm" in low
    assert low <= LAYOUT | {"aten::mm"}
    others = {name for name, bf16, _, _ in seen.found if not bf16}
    assert any("softplus" in name for name in others)
    if prior != "normal":
        assert any("logsumexp" in name or "max" in name for name in others)
    if prior == "vmm":
        assert "aten::linalg_cholesky_ex" in others and others & PRODUCTS


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_only_products_of_layers_are_tf32(kind, prior):
    """The switch is on for the layers' products, forward and backward, and off for all else."""
    seen = observed_step(kind, prior, "tf32")
    assert {name for name, _, on, _ in seen.found if on} == {"aten::mm", "aten::addmm"}
    of_layers = [on for name, _, on, weight in seen.found if weight and name in PRODUCTS]
    assert len(of_layers) >= 2 * seen.n_layers - 1
    assert all(of_layers)
    if prior in ("gmm", "vmm"):
        assert any(name in PRODUCTS and not on for name, _, on, _ in seen.found)
    assert not tf32()


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_elbo_is_close(kind, prior):
    """On the CPU TF32 is float32; bfloat16 has 8 bits, so products are right to some 2⁻⁸."""
    data, _ = make_data(kind)
    batch = data.batch(torch.arange(100))
    values, gradients = {}, {}
    for precision in ("float32", "tf32", "bf16"):
        model = make_model(kind, prior)
        with matrix_products(model, precision):
            elbo = model.elbo(batch, noise_for(model, 100), training=True)
            weights = [p for n, p in model.named_parameters() if n.endswith("weight")]
            by = torch.autograd.grad(elbo.mean(), weights)
        assert elbo.dtype == torch.float32 and all(g.dtype == torch.float32 for g in by)
        values[precision] = elbo.detach()
        gradients[precision] = torch.cat([g.reshape(-1) for g in by])
    scale = values["float32"].abs().mean()
    torch.testing.assert_close(values["tf32"], values["float32"], rtol=1e-5, atol=1e-5)
    error = (values["bf16"] - values["float32"]).abs()
    assert 0 < error.max() / scale < 2e-2
    assert (values["bf16"].mean() - values["float32"].mean()).abs() / scale < 5e-3
    exact = gradients["float32"]
    assert (gradients["tf32"] - exact).norm() / exact.norm() < 1e-5
    assert 0 < (gradients["bf16"] - exact).norm() / exact.norm() < 5e-2


def test_the_precision_is_that_of_the_context_only():
    layer = linear(4, 3, torch.Generator().manual_seed(0))
    x = torch.linspace(0, 1, 8).reshape(2, 4)
    exact = layer(x)
    with pytest.raises(ZeroDivisionError), matrix_products(layer, "bf16"):
        assert not torch.equal(layer(x), exact)
        1 / 0  # noqa: B018
    assert torch.equal(layer(x), exact)
    torch.testing.assert_close(exact, F.linear(x, layer.weight, layer.bias))


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_layers_stack(precision):
    """Under torch.func, each of a stack's gradients is that of the layer alone."""
    layers = [linear(4, 3, torch.Generator().manual_seed(seed)) for seed in range(2)]
    x = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(2))
    parameters, _ = torch.func.stack_module_state(layers)

    def loss(values, inputs):
        return torch.func.functional_call(layers[0], values, (inputs,)).square().sum()

    with matrix_products(layers[0], precision):
        stacked = torch.func.vmap(torch.func.grad(loss))(parameters, x)
        for i, layer in enumerate(layers):
            alone = torch.func.grad(loss)(dict(layer.named_parameters()), x[i])
            for name, gradient in alone.items():
                torch.testing.assert_close(stacked[name][i], gradient, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("training", [True, False])
def test_hidden_layers_stack(training):
    """Under torch.func: values, derivatives and running statistics are those of the layer alone."""
    layers = [HiddenLayer(5, 4, 0.1, torch.Generator().manual_seed(s)).double() for s in range(3)]
    generator = torch.Generator().manual_seed(3)
    for layer in layers:
        for name, value in layer.norm.named_buffers():
            if name.startswith("running"):
                value.copy_(torch.rand(4, generator=generator) + 0.5)
    x = 2 + torch.randn(3, 7, 5, generator=generator, dtype=torch.float64)
    parameters, buffers = torch.func.stack_module_state(layers)
    before = buffers["norm.running_mean"].clone()
    skeleton = with_stackable_layers(layers[0])

    def output(state, inputs):
        return torch.func.functional_call(skeleton, state, (inputs, training))

    stacked = torch.func.vmap(output)((parameters | buffers), x)
    weight = torch.linspace(-1, 2, 28, dtype=torch.float64).reshape(7, 4)
    by = torch.autograd.grad((stacked.square() * weight).sum(), list(parameters.values()))
    for i, layer in enumerate(layers):
        alone = layer(x[i], training)
        torch.testing.assert_close(stacked[i], alone, rtol=1e-11, atol=1e-11)
        gradients = torch.autograd.grad((alone.square() * weight).sum(), list(layer.parameters()))
        for mine, other in zip(by, gradients, strict=True):
            torch.testing.assert_close(mine[i], other, rtol=1e-11, atol=1e-11)
        for name, value in layer.named_buffers():
            torch.testing.assert_close(buffers[name][i], value, rtol=1e-11, atol=1e-11)
    assert torch.equal(before, buffers["norm.running_mean"]) != training


def test_the_model_itself_keeps_its_layers():
    layer = HiddenLayer(5, 4, 0.1)
    copy = with_stackable_layers(layer)
    assert copy.linear.affine is stackable_affine and layer.linear.affine is affine


@pytest.mark.parametrize("stacked", [False, True])
def test_a_triangle_is_what_indexing_makes_of_it(stacked):
    """Values and gradients up to rounding, alone and stacked, with no sum over places."""
    generator = torch.Generator().manual_seed(0)
    entries = (30 * torch.randn(4, 7, 10, generator=generator)).requires_grad_()
    weight = torch.randn(4, 7, 4, 4, generator=generator)
    rows, columns = torch.tril_indices(4, 4)
    square = torch.zeros(4, 4, dtype=torch.long)
    square[rows, columns] = torch.arange(10)
    expected = positive_cholesky(entries[..., square])
    triangle = PositiveTriangle(4)
    assert not triangle.state_dict()
    function = torch.func.vmap(triangle) if stacked else triangle
    with observed() as seen:
        found = function(entries)
        (ours,) = torch.autograd.grad((found * weight).sum(), entries)
    (wanted,) = torch.autograd.grad((expected * weight).sum(), entries)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(ours, wanted, rtol=1e-6, atol=1e-9)
    assert not [name for name in seen.all if "index_put" in name or "scatter" in name]
    assert torch.autograd.gradcheck(function, entries[:2, :3].double() / 30)
