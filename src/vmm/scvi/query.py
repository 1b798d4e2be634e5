"""New cells from new batches or categories, mapped onto a trained model (scArches)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from scvi.model.base import ArchesMixin
from torch import Tensor, nn

from vmm.models.base import LatentVariableModel, Noise
from vmm.models.count_vae import CountVAE
from vmm.models.tensors import CellBatch
from vmm.numerics.gaussians import DiagonalNormal
from vmm.scvi.names import gene_positions, require_anndata, with_genes
from vmm.scvi.new_cells import reference_genes
from vmm.scvi.options import device_of
from vmm.scvi.part import ModelPart

if TYPE_CHECKING:
    from typing import Self

    from anndata import AnnData

NEVER = -1e4
"""Logit of a new batch or category in the pseudo-inputs of the reference: its softmax is 0."""


class QueryMixin(ModelPart, ArchesMixin):
    """Architectural surgery: networks get inputs for what is new, and learn only those."""

    @classmethod
    def load_query_data(
        cls,
        adata: AnnData,
        reference_model: str | Self,
        inplace_subset_query_vars: bool = False,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> Self:
        """Map cells from new batches onto a trained model, by scArches.

        Training the returned model fits the weights of the new batches, and of new categories of
        the reference's covariates, in the first layers of encoder and decoder (with a dispersion
        per batch also that of new batches), and nothing else: networks, pseudo-inputs and prior
        stay those of the reference to the bit, and so do the embedding and the clusters of its
        cells. Clusters keep their names. This makes sense for every prior; new cells of a kind that
        the reference has not are assigned to the nearest of its clusters (see
        :meth:`get_cluster_uncertainty`).

        Cells from batches and of categories that the reference knows need none of this: give them
        to :meth:`predict` and :meth:`get_latent_representation`.

        Parameters
        ----------
        adata : anndata.AnnData
            Query cells with the genes of the reference and its columns of batches and covariates.
            It is set up here; if its genes stand in another order, or with others between them,
            ``model.adata`` is a copy. :meth:`prepare_query_anndata` fills in genes that are not
            there.
        reference_model : str or vmm.SCVI
            The reference, or the folder that it was saved to.
        inplace_subset_query_vars : bool
            Whether to reduce `adata` to the genes of the reference, in place.
        accelerator, device
            As for scvi-tools.

        Returns
        -------
        vmm.SCVI
            To be trained on the query, unless all its batches and categories are known.

        References
        ----------
        Lotfollahi et al., "Mapping single-cell data to reference atlases by transfer learning",
        Nature Biotechnology 40 (2022).
        """
        device_of(accelerator, device)
        require_anndata(adata)
        genes = reference_genes(reference_model)
        if inplace_subset_query_vars:
            positions = gene_positions(adata.var_names, genes)
            if positions is not None:
                adata._inplace_subset_var(positions)
        model = super().load_query_data(
            with_genes(adata, genes),
            reference_model if isinstance(reference_model, cls) else str(reference_model),
            accelerator=accelerator,
            device=device,
            unfrozen=True,  # what is fitted is decided in training, for our networks
        )
        networks = model.module.networks
        known = (*model.n_categories_, model.n_batches_)
        new = bool(new_columns(networks, known).any())
        if new:
            insert_columns(networks, known)
        model.n_reference_categories_, model.n_reference_batches_ = known[:-1], known[-1]
        model.n_categories_, model.n_batches_ = networks.n_categories, networks.n_batches
        model.is_trained_ = not new
        if new:
            model.history_ = None  # of the reference; that of the query begins with its training
        return model


class QueryNetworks(LatentVariableModel):
    """Trained networks of which only the weights of new batches and categories are fitted.

    Those are their last batches, and the last categories of covariates. Batch normalisation and
    dropout are in evaluation mode throughout.
    """

    def __init__(self, networks: CountVAE):
        super().__init__()
        self.networks, self.prior = networks, networks.prior
        self.latent_dim = networks.latent_dim
        self.weights = covariate_weights(networks)

    def posterior(
        self, batch: CellBatch, training: bool = False, noise: Noise | None = None
    ) -> DiagonalNormal:
        """Return q(z|x, s)."""
        return self.networks.posterior(batch)

    def log_likelihood(self, batch: CellBatch, z: Tensor, training: bool = False) -> Tensor:
        """Return log p(x|z, s), shape (n,)."""
        return self.networks.log_likelihood(batch, z)

    def encode_pseudo_inputs(self, pseudo_inputs: Tensor) -> DiagonalNormal:
        """Return g(u)."""
        return self.networks.encode_pseudo_inputs(pseudo_inputs)

    def variational_parameters(self) -> list[nn.Parameter]:
        """Return the weights that covariates have, those of new ones unmasked."""
        return self.weights


def covariate_weights(networks: CountVAE) -> list[nn.Parameter]:
    """Return the parameters that covariates have a part in, in the last columns or the rows."""
    parameters = dict(networks.named_parameters())
    names = ["encoder.0.linear.weight"] if networks.encode_covariates else []
    names += ["decoder.0.linear.weight"]
    names += ["log_inverse_dispersion"] if networks.dispersion == "gene-batch" else []
    return [parameters[name] for name in names]


def new_columns(networks: CountVAE, known: Sequence[int]) -> Tensor:
    """Say which of the covariates (C,) are new.

    The reference knows so many categories of each covariate, and of batches: the first ones.
    """
    new = torch.zeros(networks.n_continuous, dtype=torch.bool)
    sizes = (*networks.n_categories, networks.n_batches)
    return torch.cat([new, *(torch.arange(n) >= old for n, old in zip(sizes, known, strict=True))])


@torch.no_grad()
def insert_columns(networks: CountVAE, known: Sequence[int]) -> None:
    """Put what scvi-tools appended for new covariates where it belongs, and let the prior be.

    It appends all new columns at the end of a matrix, whichever covariate they are of.
    """
    new = new_columns(networks, known)
    pseudo_inputs = networks.prior.pseudo_inputs if networks.encode_covariates else None
    matrices = [w for w in covariate_weights(networks) if w is not networks.log_inverse_dispersion]
    for matrix in matrices if pseudo_inputs is None else [*matrices, pseudo_inputs]:
        own = torch.cat([torch.zeros(matrix.shape[1] - len(new), dtype=torch.bool), new])
        order = torch.cat([torch.nonzero(~own), torch.nonzero(own)]).squeeze(1)
        matrix[:, order.to(matrix.device)] = matrix.clone()
    if pseudo_inputs is not None:
        pseudo_inputs[:, -len(new) :][:, new] = NEVER
    if networks.dispersion == "gene-batch":
        log_theta = networks.log_inverse_dispersion
        log_theta[known[-1] :] = log_theta[: known[-1]].mean(0)


@contextmanager
def only_new_columns(networks: CountVAE, known: Sequence[int]) -> Iterator[QueryNetworks]:
    """Let what covariates beyond the `known` ones have be fitted, and nothing else."""
    trainable = {name: p.requires_grad for name, p in networks.named_parameters()}
    networks.requires_grad_(False)
    new, hooks = new_columns(networks, known), []
    for weight in covariate_weights(networks):
        mask = torch.zeros_like(weight)
        if weight is networks.log_inverse_dispersion:
            mask[known[-1] :] = 1
        else:
            mask[:, -len(new) :][:, new] = 1
        # Adam leaves a weight whose gradient is always zero where it is.
        hooks.append(weight.requires_grad_(True).register_hook(lambda g, mask=mask: g * mask))
    try:
        yield QueryNetworks(networks)
    finally:
        for hook in hooks:
            hook.remove()
        for name, parameter in networks.named_parameters():
            parameter.requires_grad_(trainable[name])
