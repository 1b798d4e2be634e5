"""What models of scvi-tools have besides z, and what their modules draw."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from scvi.distributions import (
    NegativeBinomial,
    NegativeBinomialMixture,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from scvi.module._constants import MODULE_KEYS
from scvi.module._multivae import mix_modalities
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import linear, one_hot

from scvi import REGISTRY_KEYS

Outputs = dict[str, Any]


def no_others(module: Any, tensors: Outputs, inference: Outputs, generative: Outputs) -> Tensor:
    """Return 0, for a model whose only latent variable is z."""
    return inference[MODULE_KEYS.Z_KEY].new_zeros(())


def library_size(module: Any, tensors: Outputs, inference: Outputs, generative: Outputs) -> Tensor:
    """Return log p(l) − log q(l), shape (n,), of learnt library sizes, where they are learnt."""
    q, p = inference[MODULE_KEYS.QL_KEY], generative[MODULE_KEYS.PL_KEY]
    if q is None or p is None:
        return no_others(module, tensors, inference, generative)
    size = inference[MODULE_KEYS.LIBRARY_KEY]
    return (p.log_prob(size) - q.log_prob(size)).sum(-1)


def library_size_and_background(
    module: Any, tensors: Outputs, inference: Outputs, generative: Outputs
) -> Tensor:
    """Return log p − log q, shape (n,), of a TOTALVI's protein background and library size."""
    background, parts = generative["log_pro_back_mean"], generative["py_"]
    q = Normal(parts["back_alpha"], parts["back_beta"])
    p = inference["back_mean_prior"]
    result = (p.log_prob(background) - q.log_prob(background)).sum(-1)
    if module.use_observed_lib_size:
        return result
    batch = tensors[REGISTRY_KEYS.BATCH_KEY].long().squeeze(-1)
    batches = one_hot(batch, module.library_log_means.shape[1]).float()
    means, variances = (
        linear(batches, of) for of in (module.library_log_means, module.library_log_vars)
    )
    size = inference["untran_l"]
    prior = Normal(means, variances.sqrt())
    return result + (prior.log_prob(size) - inference[MODULE_KEYS.QL_KEY].log_prob(size)).sum(-1)


def first_output(module: Any, features: Sequence[Tensor], encoded: Sequence[Any]) -> Any:
    """Return q(z) of a model with one encoder."""
    return encoded[0][0]


def of_modalities(module: Any, features: Sequence[Tensor], encoded: Sequence[Any]) -> Normal:
    """Return q(z) of a MULTIVI: the mean of those of the modalities in which a cell has counts."""
    sizes = (module.n_input_genes, module.n_input_regions, module.n_input_proteins)
    each = zip(features, sizes, strict=True)
    there = tuple(part[:, : max(1, size)].sum(1) > 0 for part, size in each)
    weights = module.mod_weights.expand(len(features[0]), -1)
    means, variances = (tuple(outputs[i] for outputs in encoded) for i in (0, 1))
    mean = mix_modalities(means, there, weights)
    return Normal(mean, mix_modalities(variances, there, weights, torch.sqrt).sqrt())


def sample(module: Any, tensors: Outputs) -> Any:
    """Draw as the library does: counts (n, G), or those of genes and of proteins."""
    return module.sample(tensors)


def accessible(module: Any, tensors: Outputs) -> Tensor:
    """Draw which peaks of a PEAKVI are open, shape (n, G), zeros and ones."""
    inference, generative = module.forward(tensors, compute_loss=False)
    factors = module.region_factors
    factor = 1 if factors is None else torch.sigmoid(factors)
    return torch.bernoulli(generative["px"] * inference["d"] * factor)


def modalities(module: Any, tensors: Outputs) -> Any:
    """Draw counts of genes and which peaks are open (n, G), and those of proteins if there are."""
    inference, generative = module.forward(tensors, compute_loss=False)
    rate, theta = generative["px_rate"], generative["px_r"]
    drawn = {
        "zinb": lambda: ZeroInflatedNegativeBinomial(
            mu=rate, theta=theta, zi_logits=generative["px_dropout"]
        ),
        "nb": lambda: NegativeBinomial(mu=rate, theta=theta),
        "poisson": lambda: Poisson(rate),
    }[module.gene_likelihood]().sample()
    factors = module.region_factors
    factor = 1 if factors is None else torch.sigmoid(factors)
    opened = torch.bernoulli(generative["p"] * inference["libsize_acc"] * factor)
    features = torch.cat([drawn, opened], -1)
    if not module.n_input_proteins:
        return features
    parts = generative["py_"]
    proteins = NegativeBinomialMixture(
        mu1=parts["rate_back"],
        mu2=parts["rate_fore"],
        theta1=parts["r"],
        mixture_logits=parts["mixing"],
    )
    return features, proteins.sample()
