"""The fitted prior as numbers, and cells sampled from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from scvi import REGISTRY_KEYS
from vmm.numerics.seeds import global_seed
from vmm.priors.records import PRIORS
from vmm.scvi.clusters import ClusterMixin

if TYPE_CHECKING:
    from anndata import AnnData


class MixtureMixin(ClusterMixin):
    """What the prior has learnt."""

    @torch.no_grad()
    def get_prior_parameters(self) -> dict[str, Any]:
        """Return the prior p(z) = Σ_j π_j N(z; m_j, C_j), components in the order of names.

        Returns
        -------
        dict
            - names: list of K names;
            - weights: (K,) π_j;
            - means: (K, p) m_j;
            - covariances: (K, p, p) C_j. Of a VMM Λ_j⁻¹ + S_j: the spread of the cells around the
              centre, and what the pseudo-input leaves open about the centre;
            - concentration: α of the Dirichlet process (VMM and GMM only).

            N(0, I) is one component.
        """
        self._check_if_trained(warn=False)
        prior, networks = self.module.prior, self.module.networks
        means, covariances = prior.moments(networks.encode_pseudo_inputs)
        order = self.cluster_order_ if prior.n_components else [0]
        return {
            "names": self.cluster_names or [PRIORS[self._prior].label],
            "weights": prior.log_weights().exp().cpu().numpy()[order],
            "means": means.cpu().numpy()[order],
            "covariances": covariances.cpu().numpy()[order],
            **prior.hyperparameters(),
        }

    @torch.no_grad()
    def sample_cluster(
        self,
        cluster: str,
        n_samples: int = 100,
        batch: str | None = None,
        library_size: float | None = None,
        seed: int = 0,
    ) -> AnnData:
        """Sample cells that the model imagines in a cluster: z from its component, counts from z.

        Parameters
        ----------
        cluster : str
            Its name.
        n_samples : int
        batch : str, optional
            Batch that the cells are decoded in; by default each that of a random cell of the data.
        library_size : float, optional
            Counts of each cell; by default those of a random cell of the data.
        seed : int

        Returns
        -------
        anndata.AnnData, n_samples × G
            ``X``: sampled counts; ``obsm["X_vmm"]``: z; ``obs``: cluster and batch.
        """
        import anndata
        from scipy.sparse import csr_matrix

        self._require_clusters()
        if cluster not in self.cluster_names:
            raise ValueError(f"There is no cluster named {cluster!r}.")
        order = np.asarray(self.cluster_order_)
        random = np.random.default_rng(seed)
        codes, libraries = self._batches_and_libraries(n_samples, batch, library_size, random)
        networks, device = self.module.networks, self.module.device
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((n_samples, networks.latent_dim), generator=generator).to(device)
        place = int(order[self.cluster_names.index(cluster)])
        component = torch.full((n_samples,), place, device=device)
        z = networks.prior.sample_component(component, noise, networks.encode_pseudo_inputs)
        covariates = F.one_hot(torch.as_tensor(codes, device=device), networks.n_batches).float()
        library = torch.as_tensor(libraries, dtype=torch.float32, device=device).log()
        with global_seed(seed):  # distributions draw from it
            counts = self.module.count_distribution(z, covariates, library).sample()
        names = np.asarray(self._batch_names())
        obs = pd.DataFrame(
            {"cluster": cluster, "batch": names[codes]},
            index=[f"sample_{i}" for i in range(n_samples)],
        )
        return anndata.AnnData(
            csr_matrix(counts.cpu().numpy()),
            obs=obs,
            var=pd.DataFrame(index=pd.Index(self.get_var_names())),
            obsm={"X_vmm": z.cpu().numpy()},
        )

    def _batch_names(self) -> list[Any]:
        """Return the batches that the model knows."""
        return list(self.get_state_registry(REGISTRY_KEYS.BATCH_KEY).categorical_mapping)

    def _batches_and_libraries(
        self,
        n_samples: int,
        batch: str | None,
        library_size: float | None,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return codes and library sizes (n,): as asked for, else of random cells of the data."""
        if self.adata is None and (batch is None or library_size is None):
            raise ValueError("The model has no AnnData; give `batch` and `library_size`.")
        if batch is not None:
            known = self._batch_names()
            if batch not in known:
                raise ValueError(f'"{batch}" not a valid batch category.')
            codes = np.full(n_samples, known.index(batch))
        if library_size is not None:
            libraries = np.full(n_samples, float(library_size))
        if batch is None or library_size is None:
            cells = random.integers(self.adata.n_obs, size=n_samples)
        if batch is None:
            codes = self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY).ravel()[cells]
        if library_size is None:
            counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
            libraries = np.asarray(counts.sum(1)).ravel()[cells]
        return codes.astype(np.int64), np.maximum(libraries, 1)
