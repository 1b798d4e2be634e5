"""Names of cells and genes: without repetition, and genes found by theirs."""

from __future__ import annotations

import difflib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

import scvi
from vmm.data.checks import unique_names
from vmm.data.messages import listing
from vmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

SHOWN = 5
"""Names that a message lists."""


def not_among(name: Any, names: list[str], what: str) -> str:
    """Return a sentence: that there is no cluster, say, of this name, and which are like it."""
    close = difflib.get_close_matches(str(name), names, n=3)
    there = f"did you mean {' or '.join(map(repr, close))}?" if close else "there are "
    there += "" if close else f"{listing(names, SHOWN)}."
    return f"There is no {what} named {name!r}; {there}"


def warn(message: str) -> None:
    """Show the user of the model a warning."""
    warnings.warn(message, UserWarning, stacklevel=scvi.settings.warnings_stacklevel)


def require_anndata(cells: Any) -> None:
    """Refuse what is no AnnData object, and say what to do with a MuData."""
    from anndata import AnnData
    from mudata import MuData

    if isinstance(cells, MuData):
        names = list(cells.mod)
        first = "rna" if "rna" in names or not names else names[0]
        raise NotImplementedError(
            f"vmm.SCVI takes one kind of counts, not MuData; give it one modality, such as "
            f"`mdata[{first!r}]` (there are {listing(names)})."
        )
    if not isinstance(cells, AnnData):
        raise InputError(
            f"adata is of type {type(cells).__name__}; it must be an AnnData object (a file is "
            "read by `anndata.read_h5ad`)."
        )


def make_names_unique(adata: AnnData) -> None:
    """Give repeated names of cells and genes a suffix, in place, and say so."""
    for what, attribute in (("cell", "obs_names"), ("gene", "var_names")):
        names = getattr(adata, attribute)
        if not names.is_unique:
            unique, (note,) = unique_names(list(names), what)
            setattr(adata, attribute, unique)
            warn(f"adata: {note} `adata.{attribute}` has the new names.")


def gene_positions(names: pd.Index, genes: np.ndarray, where: str = "adata") -> np.ndarray | None:
    """Return where `genes` (G,), those of the model, are among `names`.

    None if `names` are the model's already, in their order, but for suffixes of repeated ones.
    Genes that are missing are refused, and those that stand there twice, so that it cannot be known
    which is meant. `where` is what has the names, for messages.
    """
    if np.array_equal(names, genes):
        return None
    if not names.is_unique and np.array_equal(unique_names(list(names), "gene")[0], genes):
        return None
    known = set(names)
    missing = [gene for gene in genes if gene not in known]
    if len(missing) == len(genes):
        raise InputError(
            f"{where} has none of the model's {len(genes):,} genes: the model's are named such as "
            f"{listing(genes[:3])}, those of {where} such as {listing(names[:3])}; name genes "
            "alike."
        )
    if missing:
        raise InputError(
            f"{where} lacks {len(missing):,} of the model's {len(genes):,} genes "
            f"({listing(missing, SHOWN)}); give cells that have them all, in any order "
            "(`vmm.SCVI.prepare_query_anndata` fills in zeros for genes that were not measured)."
        )
    repeated = set(names[names.duplicated()])
    if twice := [gene for gene in genes if gene in repeated]:
        raise InputError(
            f"{where} has several genes named {listing(twice, SHOWN)}, and genes in another order "
            "than the model, so it cannot be known which is which; give each gene a name of its "
            "own."
        )
    return names.get_indexer_for(genes)


def with_genes(adata: AnnData, genes: np.ndarray) -> AnnData:
    """Return the cells with these genes in this order: themselves, or else a copy.

    Repeated names get their suffix in `adata` itself.
    """
    require_anndata(adata)
    positions = gene_positions(adata.var_names, genes)
    make_names_unique(adata)
    if positions is None:
        return adata
    chosen = adata[:, positions]
    return chosen.to_memory() if adata.isbacked else chosen.copy()
