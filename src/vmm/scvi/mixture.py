"""The fitted prior as numbers, and cells sampled from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from scvi import REGISTRY_KEYS
from vmm.data.covariates import Covariates
from vmm.data.messages import listing
from vmm.errors import InputError
from vmm.numerics.seeds import global_seed
from vmm.priors.records import PRIORS
from vmm.scvi.clusters import ClusterMixin
from vmm.scvi.fields import covariate_names, registered_covariates
from vmm.scvi.names import not_among
from vmm.scvi.options import finite, positive, whole

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

    def get_importance_weights(self, *args, **kwargs) -> np.ndarray:
        """Weight samples of z as scvi-tools does, which assumes the prior N(0, I).

        Raises
        ------
        NotImplementedError
            For another prior.
        """
        if not self.module.prior.is_standard_normal:
            raise NotImplementedError(
                "Importance weights of scvi-tools assume the prior N(0, I); use "
                "weights='uniform', or a model with prior='normal'."
            )
        return super().get_importance_weights(*args, **kwargs)

    @torch.no_grad()
    def sample_cluster(
        self,
        cluster: str,
        n_samples: int = 100,
        batch: str | None = None,
        library_size: float | None = None,
        seed: int = 0,
        covariates: Mapping[str, Any] | None = None,
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
            Counts of each cell, or its size factor if the model has size factors; by default those
            of a random cell of the data.
        seed : int
        covariates : mapping, optional
            Values of covariates, by the names of their columns, that the cells are decoded with;
            by default those of the same random cell.

        Returns
        -------
        anndata.AnnData, n_samples × G
            ``X``: sampled counts; ``obsm["X_vmm"]``: z; ``obs``: cluster, batch and covariates.
        """
        import anndata
        from scipy.sparse import csr_matrix

        place = self._component_of(cluster)
        n_samples, seed = whole(n_samples, "n_samples", 1), whole(seed, "seed", 0)
        random = np.random.default_rng(seed)
        codes, libraries, told = self._given_or_random(
            n_samples, batch, library_size, covariates, random
        )
        networks, device = self.module.networks, self.module.device
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn((n_samples, networks.latent_dim), generator=generator).to(device)
        component = torch.full((n_samples,), place, device=device)
        z = networks.prior.sample_component(component, noise, networks.encode_pseudo_inputs)
        categories, columns, _ = covariate_names(self.registry)
        known = self.module.covariates(
            torch.as_tensor(codes, device=device)[:, None],
            *(_table([told[key] for key in keys], device) for keys in (columns, categories)),
        )
        library = torch.as_tensor(libraries, dtype=torch.float32, device=device).log()
        with global_seed(seed):  # distributions draw from it
            counts = self.module.count_distribution(z, known, library).sample()
        return anndata.AnnData(
            csr_matrix(counts.cpu().numpy()),
            obs=self._samples_obs(cluster, codes, told),
            var=pd.DataFrame(index=pd.Index(self.get_var_names())),
            obsm={"X_vmm": z.cpu().numpy()},
        )

    def _samples_obs(
        self, cluster: str, codes: np.ndarray, told: Mapping[str, np.ndarray]
    ) -> pd.DataFrame:
        """Return the table of sampled cells: covariates, cluster, batch."""
        categories, _, _ = covariate_names(self.registry)
        named = {key: np.asarray(own)[told[key]] for key, own in categories.items()}
        batches = np.asarray(self._batch_names())[codes]
        return pd.DataFrame(
            {**told, **named, "cluster": cluster, "batch": batches},
            index=[f"sample_{i}" for i in range(len(codes))],
        )

    def _component_of(self, cluster: str) -> int:
        """Return the place of the component that is named so."""
        self._require_clusters()
        names = self.cluster_names
        if cluster not in names:
            raise ValueError(not_among(cluster, names, "cluster"))
        return int(np.asarray(self.cluster_order_)[names.index(cluster)])

    def _batch_names(self) -> list[Any]:
        """Return the batches that the model knows."""
        return list(self.get_state_registry(REGISTRY_KEYS.BATCH_KEY).categorical_mapping)

    def _given_or_random(
        self,
        n_samples: int,
        batch: str | None,
        library_size: float | None,
        covariates: Mapping[str, Any] | None,
        random: np.random.Generator,
    ) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Return codes of batches, library sizes, and codes or numbers of each covariate, all (n,).

        As asked for, else of random cells of the data.
        """
        categories, columns, sized = covariate_names(self.registry)
        asked = self._asked(covariates)
        if batch is not None and batch not in self._batch_names():
            raise ValueError(f'"{batch}" not a valid batch category.')
        lacking = [key for key in (*categories, *columns) if key not in asked]
        of_data, cells = Covariates(), np.empty(0, dtype=np.int64)
        if batch is None or library_size is None or lacking:
            if self.adata is None:
                also = f", and `covariates` for {listing(lacking)}" if lacking else ""
                raise ValueError(
                    f"The model has no AnnData; give `batch` and `library_size`{also}."
                )
            of_data = registered_covariates(self.adata_manager)
            cells = random.integers(self.adata.n_obs, size=n_samples)
        if batch is not None:
            codes: np.ndarray = np.full(n_samples, self._batch_names().index(batch))
        else:
            codes = self.adata_manager.get_from_registry(REGISTRY_KEYS.BATCH_KEY).ravel()[cells]
        if library_size is not None:
            libraries = np.full(n_samples, positive(library_size, "library_size"))
        else:
            counts = self.adata_manager.get_from_registry(REGISTRY_KEYS.X_KEY)
            factor = of_data.size_factor
            sizes = np.asarray(counts.sum(1)).ravel() if factor is None else factor
            libraries = sizes[cells]
        libraries = libraries if sized else np.maximum(libraries, 1)
        return codes.astype(np.int64), libraries, told_of(of_data, cells, asked, n_samples)

    def _asked(self, covariates: Mapping[str, Any] | None) -> dict[str, np.integer | np.floating]:
        """Return codes of categories, and numbers, by the covariates that are to have them."""
        categories, columns, _ = covariate_names(self.registry)
        if not isinstance(covariates or {}, Mapping):
            raise InputError(
                f"`covariates` is of type {type(covariates).__name__}; it must be a dict of names "
                "of columns and values."
            )
        asked: dict[str, np.integer | np.floating] = {}
        for key, value in (covariates or {}).items():
            if key in columns:
                asked[key] = np.float32(finite(value, f"covariates[{key!r}]"))
            elif key not in categories:
                known = listing([*categories, *columns]) or "none"
                raise InputError(f"`covariates` has {key!r}; the model's covariates are {known}.")
            elif value in categories[key]:
                asked[key] = np.int64(categories[key].index(value))
            else:
                raise InputError(
                    f"`covariates` has {key}={value!r}; the model knows {listing(categories[key])}."
                )
        return asked


def told_of(
    known: Covariates, cells: np.ndarray, asked: Mapping[str, Any], n: int
) -> dict[str, np.ndarray]:
    """Return codes or numbers (n,) of covariates: as asked for, else those of random cells."""
    told = {key: codes[cells] for key, (codes, _) in known.categorical.items()}
    told |= {key: values[cells] for key, values in known.continuous.items()}
    return told | {key: np.full(n, value) for key, value in asked.items()}


def _table(columns: list[np.ndarray], device: torch.device) -> torch.Tensor | None:
    """Return columns (n,) as a table, or None if there are none."""
    return torch.as_tensor(np.stack(columns, 1), device=device) if columns else None
