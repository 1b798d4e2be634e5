"""A step of the image VAE with the VMM, against its matrix products alone."""

from __future__ import annotations

from benchmarks.harness import Benchmark, Comparison

AWAKE = 20
STEP, LATE = "ours VMM", f"ours VMM, {AWAKE} components awake"
LOWER = "ours VMM, bfloat16"
PRODUCTS, PLAIN = "its matrix products alone", "its matrix products alone, by MKL"
BATCH, N_COMPONENTS, LATENT_DIM, N_PIXELS = 256, 100, 10, 784

BENCHMARKS = [
    Benchmark(
        name="image_step",
        work=f"image VAE, both steps of Algorithm 1, batch {BATCH}, MNIST networks",
        contenders={
            STEP: "benchmarks.image_step:both_steps",
            LATE: "benchmarks.image_step:both_steps_late",
            LOWER: "benchmarks.image_step:both_steps_in_bfloat16",
            PRODUCTS: "benchmarks.image_step:products",
            PLAIN: "benchmarks.image_step:plain_products",
        },
        comparisons=(
            Comparison(STEP, 1.25, PRODUCTS),
            Comparison(STEP, 1.25, PLAIN),
            Comparison(LATE, 0.75, STEP),
            Comparison(LOWER, 0.75, STEP),
        ),
        repeats=41,
    )
]


def both_steps(lap) -> None:
    """Train on batches that differ from step to step."""
    _repeat(_step(), lap)


def both_steps_late(lap) -> None:
    """Do the same as late in a training, when most components sleep."""
    _repeat(_step(AWAKE), lap)


def both_steps_in_bfloat16(lap) -> None:
    """Do the same with the networks' products in bfloat16."""
    _repeat(_step(precision="bf16"), lap)


def _repeat(step, lap) -> None:
    while True:
        lap()
        step()


def products(lap) -> None:
    """Do again each matrix product that one step dispatches: same shapes, strides and order."""
    import torch

    step = _step()
    step()
    calls = recorded_products(step)
    with torch.no_grad():
        while True:
            lap()
            for function, arguments, keywords in calls:
                function(*arguments, **keywords)


def plain_products(lap) -> None:
    """Do the same by the operators that PyTorch itself would call."""
    from vmm.numerics.products import without_onednn

    with without_onednn():
        products(lap)


def recorded_products(step) -> list[tuple]:
    """Run `step`; return its matrix products as (function, arguments, keywords)."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    aten, onednn = torch.ops.aten, torch.ops.mkldnn._linear_pointwise
    kinds = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.addmv, aten.mv, onednn}
    calls = []

    class Record(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            if function.overloadpacket in kinds:
                calls.append((function, arguments, keywords or {}))
            return function(*arguments, **(keywords or {}))

    with Record():
        step()
    return calls


def _step(awake: int = N_COMPONENTS, precision="float32"):
    """Return a function that takes both steps of Algorithm 1 on the next batch.

    Parameters
    ----------
    awake : int
        How many components are computed.
    precision : {"float32", "bf16"}
        Of the networks' products.
    """
    import torch

    from vmm.models.image_vae import ImageVAE
    from vmm.models.networks import matrix_products
    from vmm.models.tensors import ImageTensors
    from vmm.priors import make_prior
    from vmm.training.steps import adam, take_step

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (20 * BATCH, N_PIXELS), generator=generator)
    data = ImageTensors(pixels.to(torch.uint8).numpy())
    model = ImageVAE(N_PIXELS, LATENT_DIM, generator=generator)
    u = model.initial_pseudo_inputs(data.batch(torch.arange(N_COMPONENTS)))
    model.prior = make_prior("vmm", LATENT_DIM, N_COMPONENTS, u)
    model.prior = model.prior.narrowed(torch.arange(N_COMPONENTS), awake)
    parameters = model.variational_parameters(), model.prior.empirical_bayes_parameters()
    optimizers = [adam(of_step, 1e-4, 1e-7) for of_step in parameters]

    def step() -> None:
        rows = torch.randint(len(data), (BATCH,), generator=generator)
        batch = data.batch(rows)
        noise = model.draw_noise(BATCH, generator, data.device)
        noise["prior_step"] = torch.randn((BATCH, LATENT_DIM), generator=generator)
        with matrix_products(model, precision):
            take_step(model, optimizers, batch, noise)

    return step
