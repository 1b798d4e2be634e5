"""`python -m benchmarks.parts [cortex|pbmc]`: where a step of scVI with the VMM spends its time.

Prints the least CPU time of each part, alone and repeated, on one thread. Parts alone meet warm
caches, so their sum is less than the step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch

from benchmarks.data import SIZES, cells, split
from benchmarks.scvi_epochs import spec
from vmm.benchmark.ours import build_model
from vmm.models.tensors import CellTensors
from vmm.numerics.gaussians import DiagonalNormal
from vmm.training.steps import adam, prior_step, variational_step


def least(function: Callable[[], object], repeats: int = 100) -> float:
    """Return the least CPU time of a call in milliseconds."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def parts(size: str) -> dict[str, Callable[[], object]]:
    """Return the parts of a step by name; those that are indented are within the one above."""
    counts, codes = cells(**SIZES[size])
    data = CellTensors(counts, codes, SIZES[size]["n_batches"])
    vmm = spec("vmm")
    model = build_model(vmm, data, split(len(data))[0])
    batch = data.batch(torch.arange(vmm.batch_size))
    noise = model.draw_noise(vmm.batch_size, torch.Generator().manual_seed(0), data.device)
    prior, u = model.prior, model.prior.pseudo_inputs
    phi = [*model.encoder.parameters(), *model.encoder_head.parameters()]
    psi = [p for p in prior.parameters() if p is not u]
    first = adam(model.variational_parameters(), vmm.learning_rate, 1e-7)
    second = adam(prior.empirical_bayes_parameters(), vmm.learning_rate, 1e-7)
    with torch.no_grad():
        q = model.posterior(batch)
        centres = model.encode_pseudo_inputs(u)
    z = q.rsample(noise["latent"]).requires_grad_()
    first_input = torch.cat([batch.counts, batch.covariates], -1)
    leaves = [centres.mean.requires_grad_(), centres.scale.requires_grad_()]

    def encoded(of: list[torch.Tensor]):
        g = model.encode_pseudo_inputs(u)
        return torch.autograd.grad(g.mean.sum() + g.scale.sum(), of)

    def given(_):
        return DiagonalNormal(*leaves)

    def step():
        variational_step(model, first, batch, noise)
        prior_step(model, second, batch, noise["latent"])

    return {
        "step": step,
        "variational step": lambda: variational_step(model, first, batch, noise),
        "  pseudo-inputs encoded, gradient to the encoder": lambda: encoded(phi),
        "  density of the prior, gradient to z, m and S": lambda: torch.autograd.grad(
            prior.log_prob(z, given).sum(), [z, *leaves]
        ),
        "prior step": lambda: prior_step(model, second, batch, noise["latent"]),
        "  batch encoded again": torch.no_grad()(lambda: model.posterior(batch)),
        "  pseudo-inputs encoded, gradient to them": lambda: encoded([u]),
        "  loss, gradient to m, S and the rest of ψ": lambda: torch.autograd.grad(
            prior.prior_step_loss(z.detach(), given), [*leaves, *psi]
        ),
        "  Adam": second.step,
        "one product of the encoder's first layer": torch.no_grad()(
            lambda: model.encoder[0].linear(first_input)
        ),
    }


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    for name, function in parts(*(sys.argv[1:] or ["cortex"])).items():
        print(f"{name:52s} {least(function):7.2f} ms", flush=True)


if __name__ == "__main__":
    main()
