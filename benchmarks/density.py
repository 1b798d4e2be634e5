"""Log density of a mixture with full covariances, forward and backward."""

from __future__ import annotations

from benchmarks.harness import Benchmark, Comparison

OURS, TORCH = "ours", "MixtureSameFamily of MultivariateNormal"
N_POINTS, N_COMPONENTS, DIM = 256, 100, 30

BENCHMARKS = [
    Benchmark(
        name="mixture_density",
        work=f"mixture log density, {N_POINTS} points × {N_COMPONENTS} components × p = {DIM}, "
        "forward and backward",
        contenders={
            OURS: "benchmarks.density:ours",
            TORCH: "benchmarks.density:torch_distributions",
        },
        comparisons=(Comparison(OURS, 0.5, TORCH),),
        repeats=51,
    )
]


def ours(lap) -> None:
    """Compute it from Cholesky factors of the covariances, as `torch.distributions` does."""
    _repeat(our_log_prob, lap)


def torch_distributions(lap) -> None:
    """Compute the same density by PyTorch."""
    _repeat(torch_log_prob, lap)


def our_log_prob(logits, mean, scale_tril, z):
    """Return log Σ_j π_j N(z; m_j, T_j T_jᵀ), shape (N,)."""
    from vmm.numerics.gaussians import FullRankNormal

    components = FullRankNormal(mean, scale_tril).component_log_prob(z)
    return (logits.log_softmax(-1) + components).logsumexp(-1)


def torch_log_prob(logits, mean, scale_tril, z):
    """Return the same, by PyTorch, without its checks of arguments."""
    from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

    mixture = MixtureSameFamily(
        Categorical(logits=logits, validate_args=False),
        MultivariateNormal(mean, scale_tril=scale_tril, validate_args=False),
        validate_args=False,
    )
    return mixture.log_prob(z)


def arguments():
    """Return logits (K,), means (K, p), Cholesky factors (K, p, p) and points (N, p), leaves."""
    import torch

    generator = torch.Generator().manual_seed(0)

    def draw(*size):
        return torch.randn(*size, generator=generator)

    lower = 0.3 * draw(N_COMPONENTS, DIM, DIM).tril(-1)
    scale_tril = lower + torch.diag_embed((0.5 * draw(N_COMPONENTS, DIM)).exp())
    leaves = draw(N_COMPONENTS), draw(N_COMPONENTS, DIM), scale_tril, draw(N_POINTS, DIM)
    return [leaf.requires_grad_() for leaf in leaves]


def _repeat(log_prob, lap) -> None:
    import torch

    torch.set_num_threads(1)
    leaves = arguments()
    while True:
        lap()
        torch.autograd.grad(log_prob(*leaves).sum(), leaves)
