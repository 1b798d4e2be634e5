"""Where the model finds counts and covariates in an AnnData object, and what it refuses there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scvi.data import AnnDataManager
from scvi.data.fields import (
    CategoricalJointObsField,
    CategoricalObsField,
    LayerField,
    NumericalJointObsField,
    NumericalObsField,
)
from scvi.data.fields._base_field import BaseAnnDataField

from scvi import REGISTRY_KEYS
from vmm.data.blocks import bounds_of
from vmm.data.checks import (
    NOT_COUNTS,
    numbers,
    one_column,
    refuse_missing,
    refuse_names_of_cells,
    seem_counts,
)
from vmm.data.covariates import Covariates
from vmm.data.messages import listing
from vmm.errors import InputError
from vmm.scvi.names import gene_positions, warn

if TYPE_CHECKING:
    from anndata import AnnData

ROWS = 1000
"""Cells checked at once where they are on disk or dense."""
RAW = "raw"
FRACTIONAL = NOT_COUNTS[2][1]
"""The one fault that a model can be trained with."""


class Manager(AnnDataManager):
    """Gives out sparse arrays as matrices, which the data loader of scvi-tools asks for."""

    def get_from_registry(self, registry_key: str) -> np.ndarray | pd.DataFrame:
        """Return the registered counts, batches or covariates."""
        data = super().get_from_registry(registry_key)
        return sp.csr_matrix(data) if isinstance(data, sp.sparray) else data


class CountsField(LayerField):
    """Counts in ``X`` or a layer: all of them are looked at, and what is none is refused.

    The layer ``"raw"``, where no layer has that name, is made of ``adata.raw``.
    """

    def validate_field(self, adata: AnnData) -> None:
        """Refuse what nothing can be learnt from; warn of values that are not whole numbers."""
        BaseAnnDataField.validate_field(self, adata)
        where, counts = self._where, self._matrix(adata)
        if 0 in counts.shape:
            raise InputError(f"{where} is empty ({adata.n_obs} cells × {adata.n_vars} genes).")
        faults, largest = _faults(counts, where)
        if not faults:
            if largest == 0:
                raise InputError(f"all counts in {where} are zero.")
            return
        problem, advice, (row, column, value), total = faults[0]
        found = (
            f"(first: {value:.6g} at cell {row}, {str(adata.obs_names[row])!r}, gene "
            f"{str(adata.var_names[column])!r}; {total:,} in all)"
        )
        better = self._better(adata)
        if problem != FRACTIONAL:
            raise InputError(f"counts in {where} {problem} {found}{advice}{better}.")
        warn(
            f"{where} does not contain unnormalized count data: values {problem} {found}{better}. "
            "They are taken as they are. Normalised or logarithmic values are nothing to a "
            "likelihood of counts. Counts that were corrected for ambient RNA can be rounded by "
            "numpy.rint before `setup_anndata`: each changes by 0.5 at most, and those up to 0.5 "
            "become 0."
        )

    @property
    def _where(self) -> str:
        return "adata.X" if self.attr_key is None else f"adata.layers[{self.attr_key!r}]"

    def _matrix(self, adata: AnnData) -> Any:
        layers = _layers(adata)
        if self.attr_key == RAW and RAW not in layers and adata.raw is not None:
            adata.layers[RAW] = _raw_counts(adata)
            layers.append(RAW)
        if self.attr_key is None and adata.X is None:
            advice = (
                f"name the layer with counts by `layer` (there are {listing(layers)})"
                if layers
                else "nor any layer: read the cells with their counts (of a result of `vmm fit "
                "--without-counts` those of the file that it was made of), or load a model alone "
                "by `adata=False`"
            )
            raise InputError(f"adata has no X; {advice}.")
        if self.attr_key is not None and self.attr_key not in layers:
            raw = f", and {RAW!r} for adata.raw" if adata.raw is not None else ""
            raise InputError(
                f"{self.attr_key} is not a valid key in adata.layers; there are "
                f"{listing(layers)}{raw}."
            )
        return self.get_field_data(adata)

    def _better(self, adata: AnnData) -> str:
        """Name layers that do hold counts."""
        others: dict[str, Any] = {f"layer={name!r}": adata.layers[name] for name in _layers(adata)}
        others["layer=None (adata.X)"] = adata.X
        if adata.raw is not None:
            others[f"layer={RAW!r} (adata.raw)"] = adata.raw.X
        own = f"layer={self.attr_key!r}" if self.attr_key else "layer=None (adata.X)"
        good = [name for name, values in others.items() if name != own and seem_counts(values)]
        return f"; whole numbers are in {listing(good)}" if good else ""

    def transfer_field(self, state_registry: dict, adata_target: AnnData, **kwargs) -> dict:
        """Register counts of new cells, which must have the genes in the model's order."""
        genes = np.asarray(state_registry[self.COLUMN_NAMES_KEY])
        if gene_positions(adata_target.var_names, genes) is not None:
            raise InputError(
                "the genes of adata are in another order than those of the model; give cells to "
                "the methods of the model, which match genes by name, or use adata[:, genes]."
            )
        return super().transfer_field(state_registry, adata_target, **kwargs)


class NamesField(BaseAnnDataField):
    """Columns that must name something in every cell, as ``setup_anndata`` calls them."""

    option: str
    what: str

    def _keys(self) -> list[str]:
        """Return the columns."""
        raise NotImplementedError

    def _known(self, state_registry: dict, key: str) -> list[Any]:
        """Return the names that a model knows of a column."""
        raise NotImplementedError

    def _names(self, adata: AnnData) -> Iterator[tuple[str, str, list[Any]]]:
        """Yield each column, what to call it, and the names that occur in it."""
        for key in self._keys():
            subject = f"column {key!r} of adata.obs (`{self.option}`)"
            yield key, subject, names_in(adata.obs, key, subject)

    def validate_field(self, adata: AnnData) -> None:
        """Refuse a column that is missing, stands there twice, or has cells without a name."""
        super().validate_field(adata)
        list(self._names(adata))

    def register_field(self, adata: AnnData) -> dict:
        """Register the names of the cells that a model is made for."""
        if self._keys():  # the library makes the column of a single batch later
            self.validate_field(adata)
        for _, subject, names in self._names(adata):
            refuse_names_of_cells(names, adata.n_obs, subject)
        return super().register_field(adata)

    def transfer_field(
        self,
        state_registry: dict,
        adata_target: AnnData,
        extend_categories: bool = False,
        **kwargs,
    ) -> dict:
        """Take the names of new cells for the model's."""
        if self._keys():
            self.validate_field(adata_target)
        for key, subject, names in self._names(adata_target):
            known = self._known(state_registry, key)
            refuse_unknown(names, known, subject, self.what, extend_categories)
        return super().transfer_field(
            state_registry, adata_target, extend_categories=extend_categories, **kwargs
        )


class BatchField(NamesField, CategoricalObsField):
    """The column of batches."""

    option, what = "batch_key", "batch"

    def _keys(self) -> list[str]:
        return [] if self.is_default else [self._original_attr_key]

    def _known(self, state_registry: dict, key: str) -> list[Any]:
        return list(state_registry[self.CATEGORICAL_MAPPING_KEY])


class CategoricalField(NamesField, CategoricalJointObsField):
    """The columns of categorical covariates, each as that of batches."""

    option, what = "categorical_covariate_keys", "category"

    def _keys(self) -> list[str]:
        return self.attr_keys

    def _known(self, state_registry: dict, key: str) -> list[Any]:
        return list(state_registry[self.MAPPINGS_KEY][key])


class ContinuousField(NumericalJointObsField):
    """The columns of continuous covariates."""

    def validate_field(self, adata: AnnData) -> None:
        """Refuse a column that is missing, or has missing values or others than numbers."""
        super().validate_field(adata)
        for key in self.attr_keys:
            subject = f"column {key!r} of adata.obs (`continuous_covariate_keys`)"
            numbers(one_column(adata.obs, key, subject), subject)

    def _combine_fields(self, adata: AnnData) -> None:
        adata.obsm[self.attr_key] = adata.obs[self.attr_keys].astype(np.float32)


class SizeFactorField(NumericalObsField):
    """The column of size factors."""

    def validate_field(self, adata: AnnData) -> None:
        """Refuse a column that is missing, or has other values than numbers above 0."""
        super().validate_field(adata)
        subject = f"column {self.attr_key!r} of adata.obs (`size_factor_key`)"
        numbers(one_column(adata.obs, self.attr_key, subject), subject, positive=True)


def fields(
    layer: str | None,
    batch_key: str | None,
    size_factor_key: str | None = None,
    categorical_covariate_keys: list[str] | None = None,
    continuous_covariate_keys: list[str] | None = None,
) -> list[BaseAnnDataField]:
    """Return what is registered of an AnnData object."""
    found: list[BaseAnnDataField] = [
        CountsField(REGISTRY_KEYS.X_KEY, layer, is_count_data=True),
        BatchField(REGISTRY_KEYS.BATCH_KEY, batch_key),
    ]
    if size_factor_key:
        found.append(SizeFactorField(REGISTRY_KEYS.SIZE_FACTOR_KEY, size_factor_key))
    if categorical_covariate_keys:
        found.append(CategoricalField(REGISTRY_KEYS.CAT_COVS_KEY, categorical_covariate_keys))
    if continuous_covariate_keys:
        found.append(ContinuousField(REGISTRY_KEYS.CONT_COVS_KEY, continuous_covariate_keys))
    return found


def registered_covariates(manager: AnnDataManager) -> Covariates:
    """Return the covariates of registered cells."""

    def columns(key: str) -> np.ndarray:
        return np.asarray(manager.get_from_registry(key)).T

    categories, numbers, has_factor = covariate_names(manager.registry)
    categorical, continuous, factor = {}, {}, None
    if categories:
        codes = zip(categories.items(), columns(REGISTRY_KEYS.CAT_COVS_KEY), strict=True)
        categorical = {key: (column, names) for (key, names), column in codes}
    if numbers:
        values = columns(REGISTRY_KEYS.CONT_COVS_KEY).astype(np.float32)
        continuous = dict(zip(numbers, values, strict=True))
    if has_factor:
        factor = columns(REGISTRY_KEYS.SIZE_FACTOR_KEY).ravel().astype(np.float32)
    return Covariates(categorical, continuous, factor)


def covariate_names(registry: dict) -> tuple[dict[str, list[Any]], list[str], bool]:
    """Return the categories of each categorical covariate, the continuous ones, and if sizes."""

    def state(key: str, part: str, nothing: Any) -> Any:
        field = registry["field_registries"].get(key, {})
        return field.get("state_registry", {}).get(part, nothing)

    mappings = state(REGISTRY_KEYS.CAT_COVS_KEY, "mappings", {})
    columns = state(REGISTRY_KEYS.CONT_COVS_KEY, "columns", [])
    has_factor = registry["setup_args"].get("size_factor_key") is not None
    return {key: list(names) for key, names in mappings.items()}, list(columns), has_factor


def covariates_like(registry: dict, n: int) -> Covariates:
    """Return covariates of `n` cells that are of no account, but as many as those registered."""
    categories, numbers, has_factor = covariate_names(registry)
    ones = np.ones(n, dtype=np.float32)
    return Covariates(
        {key: (np.zeros(n, dtype=np.int64), names) for key, names in categories.items()},
        dict.fromkeys(numbers, ones),
        ones if has_factor else None,
    )


def names_in(obs: pd.DataFrame, key: str, subject: str) -> list[Any]:
    """Return the values that occur in a column, which must name something in every cell."""
    values = one_column(obs, key, subject)
    refuse_missing(values, subject)
    distinct = values.unique().tolist()
    if len({isinstance(value, str) for value in distinct}) > 1:
        raise InputError(
            f"{subject} has both text and other values ({listing(distinct, 5)}); make them all "
            "text."
        )
    return distinct


def refuse_unknown(
    there: list[Any], known: list[Any], subject: str, what: str, extend: bool
) -> None:
    """Refuse values that differ from known ones in type only and, unless `extend`, unknown ones."""
    new = [value for value in there if value not in known]
    alike = [value for value in new if str(value) in set(map(str, known))]
    if alike:
        raise InputError(
            f"{subject} has {alike[0]!r}, of type {type(alike[0]).__name__}, where the model has "
            f"{type(known[0]).__name__}; convert the column."
        )
    if new and not extend:
        several = "batches" if what == "batch" else "categories"
        raise InputError(
            f"Category {new[0]} not found in source registry: the model knows no {what} of that "
            f"name in {subject}, but {listing(known)}; map cells of new {several} by "
            "`vmm.SCVI.load_query_data`."
        )


Fault = tuple[str, str, tuple[int, int, float], int]


def _faults(counts: Any, where: str) -> tuple[list[Fault], float]:
    """Return what is wrong with counts, worst first, and the largest of them.

    A fault is what to say, what to advise, the first such value with its row and column, and the
    number of them.
    """
    first: dict[int, tuple[int, int, float]] = {}
    total = dict.fromkeys(range(len(NOT_COUNTS)), 0)
    largest = 0.0
    for start, block in _blocks(counts):
        values = block.data if sp.issparse(block) else np.asarray(block)
        if values.dtype.kind not in "biuf":
            raise InputError(f"{where} is of type {values.dtype}, not numbers; give raw counts.")
        if values.dtype == np.float16:  # its largest is smaller than that of counts
            values = values.astype(np.float32)
        if values.size:
            largest = max(largest, float(values.max()))
        if values.dtype.kind in "bu":
            continue
        for kind, (is_bad, *_) in enumerate(NOT_COUNTS):
            bad = is_bad(values)
            if bad.any():
                total[kind] += int(bad.sum())
                if kind not in first:
                    row, column, value = _locate(block, bad)
                    first[kind] = (start + row, column, value)
    return [
        (NOT_COUNTS[kind][1], NOT_COUNTS[kind][2], first[kind], total[kind])
        for kind in sorted(first)
    ], largest


def _blocks(counts: Any) -> Iterator[tuple[int, Any]]:
    """Return parts of a matrix, each with its first row: on disk, lazy, sparse or dense."""
    if sp.issparse(counts) and counts.format != "csr":
        yield 0, counts
        return
    if sp.issparse(counts):
        for start, stop in pairwise(bounds_of(counts.indptr).tolist()):
            yield start, counts[start:stop]
        return
    for start in range(0, counts.shape[0], ROWS):
        if isinstance(counts, pd.DataFrame):
            block: Any = counts.iloc[start : start + ROWS].to_numpy()
        else:
            block = counts[start : start + ROWS]
        yield start, block.compute() if hasattr(block, "compute") else block


def _locate(block: Any, bad: np.ndarray) -> tuple[int, int, float]:
    """Return row, column and value of the first that is bad."""
    if not sp.issparse(block):
        row, column = np.argwhere(bad)[0]
        return int(row), int(column), float(np.asarray(block)[row, column])
    entries = block.tocoo()
    i = int(np.flatnonzero(bad)[0])
    return int(entries.row[i]), int(entries.col[i]), float(entries.data[i])


def _raw_counts(adata: AnnData) -> Any:
    """Return the counts of ``adata.raw`` for the genes of `adata`."""
    raw = adata.raw
    positions = gene_positions(raw.var_names, adata.var_names.to_numpy(), "adata.raw")
    return raw.X.copy() if positions is None else raw.X[:, positions]


def _layers(adata: AnnData) -> list[str]:
    return [name for name in adata.layers if name is not None]  # some versions list X so
