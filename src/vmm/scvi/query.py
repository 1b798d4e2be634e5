"""New cells from new batches, mapped onto a trained model (scArches)."""

from __future__ import annotations

from collections.abc import Iterator
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
    from anndata import AnnData

    from vmm.scvi.model import SCVI

NEVER = -1e4
"""Logit of a new batch in the pseudo-inputs of the reference: its softmax is exactly 0."""


class QueryMixin(ModelPart, ArchesMixin):
    """Architectural surgery: networks get inputs for new batches, and learn only those."""

    @classmethod
    def load_query_data(
        cls,
        adata: AnnData,
        reference_model: str | SCVI,
        inplace_subset_query_vars: bool = False,
        accelerator: str = "auto",
        device: int | str = "auto",
    ) -> SCVI:
        """Map cells from new batches onto a trained model, by scArches.

        Training the returned model fits the weights of the new batches in the first layers of
        encoder and decoder, and nothing else: networks, pseudo-inputs and prior stay those of the
        reference to the bit, and so do the embedding and the clusters of its cells. Clusters keep
        their names. This makes sense for every prior; new cells of a kind that the reference has
        not are assigned to the nearest of its clusters (see :meth:`get_cluster_uncertainty`).

        Cells from batches that the reference knows need none of this: give them to
        :meth:`predict` and :meth:`get_latent_representation`.

        Parameters
        ----------
        adata : anndata.AnnData
            Query cells with the genes of the reference and its column of batches. It is set up
            here; if its genes stand in another order, or with others between them,
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
            To be trained on the query, unless all its batches are known.

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
        known = model.n_batches_
        n_new = model.module.networks.n_batches - known
        pseudo_inputs = model.module.prior.pseudo_inputs
        if n_new and pseudo_inputs is not None:
            with torch.no_grad():
                pseudo_inputs[:, -n_new:] = NEVER
        model.n_reference_batches_ = known
        model.n_batches_ = known + n_new
        model.is_trained_ = not n_new
        if n_new:
            model.history_ = None  # of the reference; that of the query begins with its training
        return model


class QueryNetworks(LatentVariableModel):
    """Trained networks of which only the weights of new batches are fitted.

    Batch normalisation and dropout are in evaluation mode throughout.

    Parameters
    ----------
    networks : vmm.models.count_vae.CountVAE
        Their last batches are new.
    """

    def __init__(self, networks: CountVAE):
        super().__init__()
        self.networks, self.prior = networks, networks.prior
        self.latent_dim = networks.latent_dim
        self.weights = batch_weights(networks)

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
        """Return the weights of the first layers, those of new batches unmasked."""
        return self.weights


def batch_weights(networks: CountVAE) -> list[nn.Parameter]:
    """Return the weights that have a column for each batch, the last ones."""
    parameters = dict(networks.named_parameters())
    return [parameters[f"{part}.0.linear.weight"] for part in ("encoder", "decoder")]


@contextmanager
def only_new_batches(networks: CountVAE, n_new: int) -> Iterator[QueryNetworks]:
    """Let the last `n_new` batches be fitted, and nothing else."""
    trainable = {name: p.requires_grad for name, p in networks.named_parameters()}
    networks.requires_grad_(False)
    hooks = []
    for weight in batch_weights(networks):
        mask = torch.zeros_like(weight)
        mask[:, -n_new:] = 1
        # Adam leaves a weight whose gradient is always zero where it is.
        hooks.append(weight.requires_grad_(True).register_hook(lambda g, mask=mask: g * mask))
    try:
        yield QueryNetworks(networks)
    finally:
        for hook in hooks:
            hook.remove()
        for name, parameter in networks.named_parameters():
            parameter.requires_grad_(trainable[name])
