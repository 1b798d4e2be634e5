"""Parts of an ``.h5ad`` file: which of them anndata would not read, and results put among them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.data.messages import as_text

if TYPE_CHECKING:
    import h5py
    import pandas as pd

BLOCK = 1 << 25
"""Bytes of a matrix that are read at once."""
IN_BLOCKS = {("", ""), ("array", "0.2.0")}
SPARSE = {("csr_matrix", "0.1.0"), ("csc_matrix", "0.1.0")}
MAPPING = {("", ""), ("dict", "0.1.0")}
TABLE = {("dataframe", "0.1.0"), ("dataframe", "0.2.0")}
RAW = {("", ""), ("raw", "0.1.0")}
WHOLE = {("", ""), ("anndata", "0.1.0")}
"""Encodings, type and version, of what need not be read at once to know that it can be read."""
AXES = {"layers": "nm", "obsm": "n", "varm": "m", "obsp": "nn", "varp": "mm"}
"""The first axes of what these have: n cells, m genes."""


def encoding(part: Any) -> tuple[str, str]:
    """Return type and version of the encoding that anndata reads a part by."""
    kind, version = (part.attrs.get(f"encoding-{key}", "") for key in ("type", "version"))
    return as_text(kind), as_text(version)


def _unknown(part: Any, known: Collection[tuple[str, str]]) -> str:
    """Say that a part has none of the encodings that are known, if so."""
    found = encoding(part)
    return "" if found in known else f"the encoding {' '.join(found)} is unknown"


def leads_outside(group: h5py.Group) -> bool:
    """Return whether some of a file lies in other files, which a copy elsewhere may not find."""
    import h5py

    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            return True
        part = group.get(name) if isinstance(link, h5py.HardLink) else None
        if isinstance(part, h5py.Dataset) and (part.external or part.is_virtual):
            return True
        if isinstance(part, h5py.Group) and leads_outside(part):
            return True
    return False


def remove_unreadable(file: h5py.File) -> dict[str, str]:
    """Remove what anndata would not read, so that it reads the rest.

    Nothing is removed of a file that it reads. Matrices are read in blocks.

    Returns
    -------
    dict
        Why, by the names of the parts.

    Raises
    ------
    ValueError
        If it would read nothing at all.
    """
    for part, known in ((file, WHOLE), (file["obs"], TABLE), (file["var"], TABLE)):
        if problem := _unknown(part, known):
            raise ValueError(problem)
    removed: dict[str, str] = {}
    for name, problem in _unreadable(file):
        removed[name.replace("/", ".")] = problem
        table, _, column = name.partition("/")
        if table in ("obs", "var"):
            order = [key for key in _columns(file[table]) if key != column]
            _set_columns(file[table], order)
            if column in file[table]:  # else the table says that it has one, and it has not
                del file[table][column]
        else:
            del file[name]
    return removed


def _unreadable(file: h5py.File) -> Iterator[tuple[str, str]]:
    sizes = {axis: len(names(file[table])) for axis, table in (("n", "obs"), ("m", "var"))}
    for name in list(file):
        if name in ("obs", "var"):
            size = sizes["n" if name == "obs" else "m"]
            for column in _columns(file[name]):
                if problem := _problem(file[name], column, (size,)):
                    yield f"{name}/{column}", problem
        elif name == "X":
            if problem := _problem(file, name, (sizes["n"], sizes["m"])):
                yield name, problem
        elif name == "raw" or name.startswith("raw."):
            if name == "raw" and (problem := _problem_of_raw(file["raw"], sizes["n"])):
                yield name, problem
        elif name == "uns":
            yield from _in_mapping(file, name)
        elif name not in AXES:
            yield name, "it is no part of an AnnData object"
        elif problem := _unknown(file[name], MAPPING):
            yield name, problem
        else:
            shape = tuple(sizes[axis] for axis in AXES[name])
            table = file["obs" if AXES[name][0] == "n" else "var"]
            for key in list(file[name]):
                if problem := _problem(file[name], key, shape, table):
                    yield f"{name}/{key}", problem


def _problem_of_raw(raw: h5py.Group, n_cells: int) -> str:
    known = [(raw, RAW), (raw.get("var"), TABLE), (raw.get("varm"), MAPPING)]
    for part, encodings in known:
        if part is not None and (problem := _unknown(part, encodings)):
            return problem
    try:
        genes = len(names(raw["var"]))
    except Exception as error:
        return first_line(error)
    parts: list[tuple[h5py.Group, str, tuple[int, ...]]] = (
        [(raw, "X", (n_cells, genes))] if "X" in raw else []
    )
    parts += [(raw["var"], column, (genes,)) for column in _columns(raw["var"])]
    parts += [(raw["varm"], key, (genes,)) for key in raw.get("varm", ())]
    problems = (_problem(*part) for part in parts)
    return next(filter(None, problems), "")


def _in_mapping(group: h5py.Group, name: str) -> Iterator[tuple[str, str]]:
    """Look into mappings for what cannot be read, and leave the rest of them."""
    part = group.get(name)
    if hasattr(part, "keys") and encoding(part) in MAPPING and "h5sparse_format" not in part.attrs:
        for key in list(part):
            for inner, problem in _in_mapping(part, key):
                yield f"{name}/{inner}", problem
    elif problem := _problem(group, name, ()):
        yield name, problem


def _problem(
    group: h5py.Group, name: str, shape: tuple[int, ...], table: h5py.Group | None = None
) -> str:
    """Return why a part cannot be read or does not fit, or nothing.

    Parameters
    ----------
    group, name
        Where it is.
    shape
        Of its first axes.
    table
        If it is a table, it must have the index of this one.
    """
    from anndata.io import read_elem

    try:
        part = group[name]
        if encoding(part) in SPARSE:
            found = _read_sparse(part)
        elif _is_numeric(part):
            found = _read_blocks(part)
        else:
            value = read_elem(part)
            found = getattr(value, "shape", None) or (len(value),) if shape else ()
            is_table = table is not None and hasattr(value, "columns")
            if is_table and [as_text(key) for key in value.index] != names(table):
                return "its rows have other names"
    except Exception as error:
        return first_line(error)
    if found[: len(shape)] != shape:
        return f"its shape is {' × '.join(map(str, found))}, not {' × '.join(map(str, shape))}"
    return ""


def _is_numeric(part: Any) -> bool:
    """Return whether a part is an array of numbers (and not codes of categories)."""
    if encoding(part) not in IN_BLOCKS or "categories" in part.attrs:
        return False
    return hasattr(part, "dtype") and part.dtype.kind in "biuf"


def _read_blocks(data: h5py.Dataset) -> tuple[int, ...]:
    """Read all of an array, a part at a time, and return its shape."""
    if data.ndim:
        rows = max(1, BLOCK * len(data) // max(1, data.nbytes))
        for start in range(0, len(data), rows):
            data[start : start + rows]
    else:
        data[()]
    return data.shape


def _read_sparse(group: h5py.Group) -> tuple[int, ...]:
    shape = tuple(int(size) for size in group.attrs["shape"])
    for key in ("data", "indices", "indptr"):
        _read_blocks(group[key])
    major = shape[0 if encoding(group)[0] == "csr_matrix" else 1]
    if len(group["indptr"]) != major + 1 or len(group["data"]) != len(group["indices"]):
        raise ValueError("its sparse matrix contradicts itself")
    return shape


def _columns(table: h5py.Group) -> list[str]:
    return [as_text(name) for name in table.attrs["column-order"]]


def _set_columns(table: h5py.Group, names: list[str]) -> None:
    import h5py

    table.attrs["column-order"] = np.array(names, dtype=h5py.string_dtype())


def names(table: h5py.Group) -> list[str]:
    """Return the index of a table."""
    from anndata.io import read_elem

    return [as_text(name) for name in read_elem(table[as_text(table.attrs["_index"])])]


def put(file: h5py.File, obs: pd.DataFrame, obsm: Mapping[str, np.ndarray]) -> None:
    """Write columns of the table of cells and arrays into a file, in the place of any before."""
    from anndata.io import write_elem

    table = file["obs"]
    if (index := as_text(table.attrs["_index"])) in obs:
        raise ValueError(f"the names of its cells are called {index}, as one of the results is")
    if names(table) != list(obs.index):
        raise ValueError("its cells are others")
    for name in obs:
        _put(table, name, obs[name].values)
    order = [name for name in _columns(table) if name not in obs] + list(obs)
    _set_columns(table, order)
    if "obsm" not in file:
        write_elem(file, "obsm", {})
    for name, values in obsm.items():
        _put(file["obsm"], name, values)


def _put(group: h5py.Group, name: str, values: Any) -> None:
    from anndata.io import write_elem

    if name in group:
        del group[name]
    write_elem(group, name, values, dataset_kwargs={"compression": "gzip"})


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line."""
    return " ".join(str(error).split("\n")[0].split()).rstrip(".") or type(error).__name__
