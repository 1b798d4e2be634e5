"""What a training asks of a GPU, counted on the CPU: nothing that waits within a step."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from dispatch import observed
from torch.utils._python_dispatch import TorchDispatchMode
from trainings import KINDS, PRIORS, SETTINGS, TRAIN, VALID, make_data, make_model, run

import vmm.numerics.counts
import vmm.numerics.products
import vmm.training
from vmm.errors import InputError
from vmm.numerics.counts import count_log_likelihood
from vmm.training import embed, evaluate, fit_stacked
from vmm.training.stacked import Stack
from vmm.training.steps import prior_step, variational_step


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Evaluate counts as on a GPU: with no search for those that are not 0."""
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )


def make_trainer(kind: str, prior: str, **changes):
    data, labels = make_data(kind)
    settings = replace(SETTINGS, **changes)
    return vmm.training.loop.Trainer(make_model(kind, prior), data, TRAIN, VALID, settings, labels)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bf16"])
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_step_waits_or_copies(kind, prior, precision, as_on_a_gpu):
    """Five steps, the gathering of their batches and the drawing of their noise included."""
    trainer = make_trainer(kind, prior, precision=precision)
    trainer.add(trainer.train(), trainer.validate(), 0.0)
    with vmm.training.loop.matrix_products(trainer.model, precision), observed() as seen:
        for positions in torch.arange(100).split(20):
            trainer.step(trainer.train_rows[positions], trainer.draw_noise(20))
    assert len(seen.all) > 500
    assert seen.waiting == []
    assert seen.copying == []


@pytest.mark.parametrize(
    ("prior", "monitor"),
    [*[(prior, "elbo") for prior in PRIORS], *[(p, "unmerged_nmi") for p in PRIORS[1:]]],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_waits_three_times_and_copies_the_clusters(kind, prior, monitor, as_on_a_gpu):
    """For two ELBOs and for whether all values are finite, whatever the number of steps."""
    for batch_size in (20, 10):
        trainer = make_trainer(kind, prior, monitor=monitor, batch_size=batch_size)
        trainer.add(trainer.train(), trainer.validate(), 0.0)
        with observed() as seen:
            trainer.add(trainer.train(), trainer.validate(), 0.0)
        assert seen.waiting == ["aten::_local_scalar_dense"] * 3
        assert seen.copying == ([] if prior == "normal" else ["cpu"])


UNORDERED = {
    "bincount", "cumsum", "embedding_bag", "gather_backward", "grid_sampler_2d_backward", "histc",
    "index_add", "index_copy", "index_reduce", "kthvalue", "median", "nll_loss_backward", "put",
    "scatter", "scatter_add", "scatter_reduce",
}  # fmt: skip
"""Operators without a fixed order of additions on CUDA, as the documentation of
`torch.use_deterministic_algorithms` lists them: the backward passes of `gather`, `index_select` and
`repeat_interleave` among them. `index_put`, the backward pass of indexing, sorts first."""


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_operator_has_a_fixed_order_on_cuda(kind, prior, as_on_a_gpu):
    trainer = make_trainer(kind, prior)
    with observed() as seen:
        trainer.add(trainer.train(), trainer.validate(), 0.0)
    names = {name.removeprefix("aten::").split(".")[0].rstrip("_") for name in seen.all}
    assert {"mm", "index"} <= names
    assert not names & UNORDERED


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_runs_where_no_value_can_be_read(kind, prior):
    """On the device "meta" there are no values: reading one, or mixing devices, is an error."""
    model = make_model(kind, prior).to("meta")
    data, _ = make_data(kind)
    for name, value in vars(data).items():
        if isinstance(value, torch.Tensor):
            setattr(data, name, value.to("meta"))
    batch = data.batch(torch.arange(20, device="meta"))
    noise = model.draw_noise(20, None, "meta")
    optimizer = torch.optim.SGD(model.variational_parameters(), lr=0.1)
    assert variational_step(model, optimizer, batch, noise).device.type == "meta"
    if psi := model.prior.empirical_bayes_parameters():
        prior_step(model, torch.optim.SGD(psi, lr=0.1), batch, noise["latent"])
    with pytest.raises(RuntimeError):
        float(model.elbo(batch, noise).mean().detach())


def test_an_unknown_precision():
    with pytest.raises(InputError, match="precision is 'fp16'; it must be 'float32', 'tf32'"):
        run("cells", "vmm", replace(SETTINGS, precision="fp16"))


PRODUCTS = {"aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_product_of_which_nobody_reads_the_result(kind, prior, as_on_a_gpu, monkeypatch):
    """A step asks for as many as PyTorch's own layer, whose backward pass leaves out the rest.

    Of a layer whose weights are fixed in a step it asks for no derivative by them.
    """
    counts = {}
    for precision in ("float32", "tf32"):
        trainer = make_trainer(kind, prior, precision=precision)
        with vmm.training.loop.matrix_products(trainer.model, precision), observed() as seen:
            trainer.step(trainer.train_rows[:20], trainer.draw_noise(20))
        counts[precision] = sum(name in PRODUCTS for name in seen.all)
    assert counts["tf32"] == counts["float32"] > 10
    asked = []
    ours = vmm.numerics.products.product

    def product(a, b, bias=None, precision="float32"):
        asked.append(a.dim())
        return ours(a, b, bias, precision)

    monkeypatch.setattr(vmm.numerics.products, "product", product)
    make_trainer(kind, prior, precision="bf16").train()
    alone = len(asked)
    stack = Stack([make_trainer(kind, prior, precision="bf16", seed=seed) for seed in range(2)])
    stack.train()
    assert len(asked) == 2 * alone and set(asked[alone:]) == {3}


class Products(TorchDispatchMode):
    """Collects what float32 products are allowed to be, on a GPU and on the CPU."""

    def __init__(self):
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.name().partition("::")[2].startswith(("mm", "bmm", "addmm", "baddbmm", "_linear")):
            backends = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)
            self.found.append(tuple(backend.fp32_precision for backend in backends))
        return func(*args, **(kwargs or {}))


@pytest.fixture(params=["high", "medium"])
def set_by_user(request):
    before = [b.fp32_precision for b in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)]
    torch.set_float32_matmul_precision(request.param)
    yield request.param
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision = before


@pytest.mark.parametrize("precision", ["float32", "tf32"])
@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_float32_whatever_the_user_set(kind, precision, set_by_user):
    """In training, alone and stacked, and in embedding; afterwards all is as the user had it."""
    (data, _), settings = make_data(kind), replace(SETTINGS, precision=precision, max_epochs=1)
    of_user = torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
    assert "ieee" not in of_user
    with Products() as seen:
        model, _ = run(kind, "vmm", settings)
        embed(model, data)
        evaluate(model, data, VALID)
        models = [make_model(kind, "vmm", seed) for seed in range(2)]
        fit_stacked(models, data, [(TRAIN, VALID)] * 2, [settings] * 2)
    assert len(seen.found) > 50
    lower = {("tf32", "ieee")} if precision == "tf32" else set()
    assert set(seen.found) == {("ieee", "ieee")} | lower
    assert torch.get_float32_matmul_precision() == set_by_user
    now = torch.backends.cuda.matmul.fp32_precision, torch.backends.mkldnn.matmul.fp32_precision
    assert now == of_user


def test_a_gpu_does_not_search_for_counts(monkeypatch):
    """On the CPU this saves work; on a GPU it would wait."""
    x = torch.poisson(torch.ones(4, 5))
    arguments = torch.zeros(4, 5), torch.zeros(5)
    monkeypatch.setattr(vmm.numerics.counts, "_replace_found", None)
    with pytest.raises(TypeError):
        count_log_likelihood(x, *arguments)
    with observed() as seen:
        count_log_likelihood(*(t.to("meta") for t in (x, *arguments)))
    assert seen.waiting == []


@pytest.mark.parametrize("zero_inflated", [False, True])
def test_both_branches_are_equal(zero_inflated, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    x = torch.poisson(torch.full((30, 20), 1.5), generator=generator)
    shapes = [(30, 20), (20,), (30, 20)][: 2 + zero_inflated]
    leaves = [torch.randn(shape, generator=generator).requires_grad_() for shape in shapes]
    found = count_log_likelihood(x, *leaves)
    monkeypatch.setattr(
        vmm.numerics.counts, "_replace_found", vmm.numerics.counts._replace_everywhere
    )
    everywhere = count_log_likelihood(x, *leaves)
    torch.testing.assert_close(found, everywhere, rtol=1e-6, atol=1e-6)
    gradients = [torch.autograd.grad(value.sum(), leaves) for value in (found, everywhere)]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_additions_without_order_are_seen():
    table = torch.ones(3, 2, requires_grad=True)
    with observed() as seen:
        table.index_select(0, torch.zeros(2, dtype=torch.long)).sum().backward()
    assert any("index_add" in name for name in seen.all)


def test_waits_and_copies_are_seen():
    """The counting itself: each of these makes the host wait for a GPU, or copies."""
    x = torch.arange(4.0)
    waiting = [
        lambda: float(x.sum()),
        lambda: bool(x[0] > 0),
        lambda: x.nonzero(),
        lambda: x[x > 1],
        lambda: x.unique(),
        lambda: torch.linalg.cholesky(torch.eye(2)),
        lambda: torch.repeat_interleave(x.long()),
        lambda: torch.nn.functional.one_hot(x.long(), 4),
    ]
    for function in waiting:
        with observed() as seen:
            function()
        assert seen.waiting, function
    copying = [
        lambda: x.cpu(),
        lambda: x.to("cpu"),
        lambda: torch.tensor([1.0]),
        lambda: torch.as_tensor([1.0]),
        lambda: torch.from_numpy(x.numpy()),
        lambda: x.tolist(),
    ]
    for function in copying:
        with observed() as seen:
            function()
        assert seen.copying, function
    with observed() as seen:
        x[torch.arange(2)]
        x.to(torch.float64)
        torch.as_tensor(x)
    assert not seen.waiting and not seen.copying
