"""What the mixins of scvi-tools know of a model: a thin adapter around our networks and prior."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from scvi.distributions import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from scvi.module._constants import MODULE_KEYS
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from torch import Tensor
from torch.distributions import Normal

from scvi import REGISTRY_KEYS
from vmm.models.base import encode_once
from vmm.models.count_vae import CountVAE
from vmm.models.tensors import CellBatch
from vmm.numerics.gaussians import DiagonalNormal

TensorDict = dict[str, Tensor]


class Module(BaseModuleClass):
    """:class:`vmm.models.count_vae.CountVAE` with the signature of ``scvi.module.VAE``.

    Always in evaluation mode: :mod:`vmm.training` trains the networks without it. Noise comes from
    torch's global generator, as in scvi-tools (``scvi.settings.seed``).
    """

    def __init__(self, networks: CountVAE):
        super().__init__()
        self.networks = networks
        self.eval()

    @property
    def gene_likelihood(self) -> str:
        """The likelihood, "zinb", "nb" or "poisson"."""
        return self.networks.likelihood

    @property
    def prior(self):
        """The prior, of :mod:`vmm.priors`."""
        return self.networks.prior

    @auto_move_data
    def batch(self, tensors: TensorDict) -> CellBatch:
        """Return a minibatch of scvi-tools as one of ours."""
        counts = tensors[REGISTRY_KEYS.X_KEY].float()
        library = counts.sum(-1)
        if self.networks.size_factors:
            library = tensors[REGISTRY_KEYS.SIZE_FACTOR_KEY].float().squeeze(-1)
        covariates = self.covariates(
            tensors[REGISTRY_KEYS.BATCH_KEY],
            tensors.get(REGISTRY_KEYS.CONT_COVS_KEY),
            tensors.get(REGISTRY_KEYS.CAT_COVS_KEY),
        )
        return CellBatch(counts, covariates, library)

    def covariates(
        self, batch_index: Tensor, cont_covs: Tensor | None = None, cat_covs: Tensor | None = None
    ) -> Tensor:
        """Return what networks are told of cells (n, C), from codes and numbers of scvi-tools."""
        networks = self.networks
        columns = () if cat_covs is None else cat_covs.long().unbind(-1)
        sizes = [*networks.n_categories, networks.n_batches]
        codes = [*columns, batch_index.long().squeeze(-1)]
        parts = [F.one_hot(code, n).float() for code, n in zip(codes, sizes, strict=True)]
        return torch.cat(parts if cont_covs is None else [cont_covs.float(), *parts], -1)

    def _get_inference_input(self, tensors: TensorDict, **kwargs) -> dict[str, Tensor | None]:
        return {MODULE_KEYS.X_KEY: tensors[REGISTRY_KEYS.X_KEY], **_known(tensors)}

    def _get_generative_input(
        self, tensors: TensorDict, inference_outputs: dict[str, Any], **kwargs
    ) -> dict[str, Tensor | None]:
        return {
            MODULE_KEYS.Z_KEY: inference_outputs[MODULE_KEYS.Z_KEY],
            MODULE_KEYS.LIBRARY_KEY: inference_outputs[MODULE_KEYS.LIBRARY_KEY],
            MODULE_KEYS.SIZE_FACTOR_KEY: tensors.get(REGISTRY_KEYS.SIZE_FACTOR_KEY),
            **_known(tensors),
        }

    @auto_move_data
    def inference(
        self,
        x: Tensor,
        batch_index: Tensor,
        cont_covs: Tensor | None = None,
        cat_covs: Tensor | None = None,
        n_samples: int = 1,
    ) -> dict[str, Any]:
        """Return q(z|x), samples of it, and the log library size.

        Of counts (n, G), batches (n, 1), continuous (n, R) and categorical (n, S) covariates, as
        codes. For `n_samples` S > 1 samples have the shape (S, n, p), for one (n, p).
        """
        counts = x.float()
        library = counts.sum(-1)
        covariates = self.covariates(batch_index, cont_covs, cat_covs)
        q = self.networks.posterior(CellBatch(counts, covariates, library))
        qz = Normal(q.mean, q.scale, validate_args=False)
        library = library.unsqueeze(-1).clamp_min(1).log()
        if n_samples > 1:
            library = library.expand(n_samples, *library.shape)
        return {
            MODULE_KEYS.Z_KEY: qz.sample((n_samples,)) if n_samples > 1 else qz.sample(),
            MODULE_KEYS.QZ_KEY: qz,
            MODULE_KEYS.QL_KEY: None,
            MODULE_KEYS.LIBRARY_KEY: library,
        }

    @auto_move_data
    def generative(
        self,
        z: Tensor,
        library: Tensor,
        batch_index: Tensor,
        cont_covs: Tensor | None = None,
        cat_covs: Tensor | None = None,
        size_factor: Tensor | None = None,
        transform_batch: int | None = None,
    ) -> dict[str, Any]:
        """Return the distribution of the counts given z (..., n, p) and log library sizes.

        A model that has size factors (n, 1) takes them in place of the library size.
        `transform_batch` is the batch to decode all cells in, instead of their own; all else as for
        :meth:`inference`.
        """
        if transform_batch is not None:
            batch_index = torch.full_like(batch_index, transform_batch)
        covariates = self.covariates(batch_index, cont_covs, cat_covs)
        if size_factor is not None:
            library = size_factor.float().log()
        return {MODULE_KEYS.PX_KEY: self.count_distribution(z, covariates, library.squeeze(-1))}

    def count_distribution(
        self, z: Tensor, covariates: Tensor, log_library: Tensor
    ) -> NegativeBinomial | Poisson:
        """Return p(x|z, s), shape (..., n, G), for covariates (n, C) and log library sizes (n,)."""
        flat, networks = z.reshape(-1, z.shape[-1]), self.networks
        flat_covariates = covariates.expand(*z.shape[:-1], -1).reshape(len(flat), -1)
        log_mean, dropout = networks.decode(flat, flat_covariates, flat.new_ones(len(flat)))
        scale = log_mean.exp().reshape(*z.shape[:-1], -1)
        mean = scale * log_library.exp().unsqueeze(-1)
        if networks.likelihood == "poisson":
            return Poisson(mean, scale=scale, validate_args=False)
        theta = networks.log_theta(covariates).exp()
        common = {
            "mu": mean,
            "theta": theta if theta.dim() == 1 else theta.expand_as(scale),
            "scale": scale,
            "validate_args": False,
        }
        if dropout is None:
            return NegativeBinomial(**common)
        return ZeroInflatedNegativeBinomial(zi_logits=dropout.reshape(scale.shape), **common)

    def loss(
        self,
        tensors: TensorDict,
        inference_outputs: dict[str, Any],
        generative_outputs: dict[str, Any],
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Return −log p(x|z) and KL(q ‖ p) under our prior; of each sample where there are many."""
        batch = self.batch(tensors)
        z = inference_outputs[MODULE_KEYS.Z_KEY]
        qz = inference_outputs[MODULE_KEYS.QZ_KEY]
        # Not by the distribution of scvi-tools, which adds 1e-8 here and there: as in training.
        reconstruction = -self._log_likelihood(batch, z)
        q = DiagonalNormal(qz.loc, qz.scale)
        encode = encode_once(self.networks)
        samples = z.reshape(-1, *qz.loc.shape)
        kl = torch.stack([self.prior.kl(q, sample, encode) for sample in samples])
        kl = kl.reshape(z.shape[:-1])
        return LossOutput(
            loss=(reconstruction + kl_weight * kl).mean(),
            reconstruction_loss=reconstruction,
            kl_local={MODULE_KEYS.KL_Z_KEY: kl},
        )

    def _log_likelihood(self, batch: CellBatch, z: Tensor) -> Tensor:
        """Return log p(x|z), shape (..., n), for `z` of shape (..., n, p)."""
        flat = z.reshape(-1, z.shape[-1])
        n_samples = len(flat) // len(batch)
        parts = (part.repeat(n_samples, *[1] * (part.dim() - 1)) for part in batch)
        return self.networks.log_likelihood(CellBatch(*parts), flat).reshape(z.shape[:-1])

    @torch.inference_mode()
    def sample(
        self,
        tensors: TensorDict,
        n_samples: int = 1,
        generative_kwargs: dict[str, Any] | None = None,
    ) -> Tensor:
        """Return samples of p(x̂|x), (n, G), or (n, G, S) for S > 1 of them."""
        _, outputs = self.forward(
            tensors,
            inference_kwargs={"n_samples": n_samples},
            generative_kwargs=generative_kwargs,
            compute_loss=False,
        )
        counts = outputs[MODULE_KEYS.PX_KEY].sample()
        return (counts.permute(1, 2, 0) if n_samples > 1 else counts).cpu()

    @torch.inference_mode()
    def marginal_ll(
        self,
        tensors: TensorDict,
        n_mc_samples: int,
        return_mean: bool = False,
        n_mc_samples_per_pass: int = 1,
    ) -> float | Tensor:
        """Estimate log p(x) by importance sampling from q(z|x), with our prior.

        log 1/S Σ_s p(x|z_s) p(z_s) / q(z_s|x), shape (n,), or its mean.
        """
        batch = self.batch(tensors)
        q = self.networks.posterior(batch)
        encode = encode_once(self.networks)
        terms = []
        for start in range(0, n_mc_samples, n_mc_samples_per_pass):
            n_samples = min(n_mc_samples_per_pass, n_mc_samples - start)
            z = q.rsample(torch.randn(n_samples, *q.mean.shape, device=q.mean.device))
            flat = z.reshape(-1, z.shape[-1])
            log_prior = self.prior.log_prob(flat, encode).reshape(z.shape[:-1])
            log_joint = self._log_likelihood(batch, z) + log_prior
            terms.append((log_joint - q.log_prob(z)).logsumexp(0))
        log_prob = torch.stack(terms).logsumexp(0) - math.log(n_mc_samples)
        return float(log_prob.mean()) if return_mean else log_prob.cpu()


def _known(tensors: TensorDict) -> dict[str, Tensor | None]:
    """Return the arguments that tell batch and covariates of cells."""
    return {
        MODULE_KEYS.BATCH_INDEX_KEY: tensors[REGISTRY_KEYS.BATCH_KEY],
        MODULE_KEYS.CONT_COVS_KEY: tensors.get(REGISTRY_KEYS.CONT_COVS_KEY),
        MODULE_KEYS.CAT_COVS_KEY: tensors.get(REGISTRY_KEYS.CAT_COVS_KEY),
    }
