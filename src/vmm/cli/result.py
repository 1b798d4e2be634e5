"""The file with the results: a copy of the user's, byte for byte, into which they are put.

So all that the user's file has is kept as it is, compressed as it was, and never held in memory.
It is made before the training, from the file that the counts were read from: whatever becomes of
the user's file meanwhile, results stand beside the cells that they belong to. What would go wrong
when results are put in, goes wrong when that is tried before the training.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import pandas as pd

from vmm.cli.parts import first_line, leads_outside, put, remove_unreadable
from vmm.data.anndata_parts import is_table
from vmm.data.verification import files_in
from vmm.errors import InputError
from vmm.io import atomic, refused, remove_leftovers

PIECE = 1 << 24
"""Bytes that are copied at once."""
LIGHT = ("obs", "var", "obsm")
"""Parts of a file that take little beside its matrices."""


class Source:
    """The user's file or zarr store, which stays what it was, or is known to have changed.

    Parameters
    ----------
    path
        Where it is; of a store only its files' states are kept.
    """

    def __init__(self, path: Path):
        self.path = path
        self._file = None if path.is_dir() else path.open("rb")
        self._state = self._now()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def _now(self) -> tuple[int, ...]:
        return _state(self.path) if self._file is None else _state(self._file.fileno())

    def changed(self) -> bool:
        """Return whether another file stands in its place, or none, or it was written to."""
        try:
            return _state(self.path) != self._state
        except OSError:
            return True

    def refuse_changed(self) -> None:
        """Refuse to go on if it changed."""
        if self.changed():
            raise InputError(f"{self.path} changed while it was read; start again.")

    def copy(self, target: Path, counts: bool = True, modality: str = "") -> None:
        """Copy it as it was when it was opened, even if another took its place since.

        Without `counts` only the tables and what describes cells: :data:`LIGHT`. Of a MuData file
        a modality alone. Not of a store.
        """
        assert self._file is not None
        self._file.seek(0)
        if counts and not modality:
            with target.open("wb") as copy:
                shutil.copyfileobj(self._file, copy, PIECE)
        else:
            self._copy_parts(target, counts, modality)
        if self._now() != self._state:
            raise InputError(f"{self.path} changed while it was copied; start again.")

    def _copy_parts(self, target: Path, counts: bool, modality: str) -> None:
        import h5py

        with h5py.File(self._file, "r") as file, h5py.File(target, "w") as copy:
            whole = file["mod"][modality] if modality else file
            copy.attrs.update(whole.attrs)
            for name in whole:
                if counts or name in LIGHT:
                    whole.copy(name, copy)


def _state(file: Path | int) -> tuple[int, ...]:
    """Return what is another number once a file, open or not, or a file of a folder changes."""
    stats = [os.stat(file)]
    if isinstance(file, Path) and file.is_dir():
        stats += [part.stat() for part in files_in(file)]
    return tuple(
        number
        for stat in stats
        for number in (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    )


class ResultFile:
    """The file with the results, in the making.

    Parameters
    ----------
    path
        Where it will be, whole or not at all.
    counts
        Whether it has all that the user's file has, or no matrices.
    modality
        What of a MuData file it has.

    Attributes
    ----------
    alone : str
        Why the results will stand alone, without what the user's file has; usually empty.
    """

    def __init__(self, path: Path, counts: bool = True, modality: str = ""):
        self.path, self.counts, self.modality, self.alone = path, counts, modality, ""
        self._stack = ExitStack()

    def __enter__(self) -> ResultFile:
        remove_leftovers(self.path.parent, self.path.name)  # the large ones
        self._temporary = self._stack.enter_context(atomic(self.path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)  # after `finish`, nothing is left to undo

    def begin(self, source: Source, rehearsal: pd.DataFrame, n_latent: int) -> list[str]:
        """Copy the user's file, and try to put something into the copy.

        Parameters
        ----------
        source
            The user's file.
        rehearsal
            Columns as the results will have them, with any values.
        n_latent
            Dimension of the embedding.

        Returns
        -------
        list of str
            What the result will lack, and why, in sentences.
        """
        arrays = {"X_vmm": n_latent, "X_vmm_mde": 2}
        shapes = {name: np.zeros((len(rehearsal), size)) for name, size in arrays.items()}
        if source.path.is_dir():
            self.alone = "it is a zarr store"
        else:
            source.copy(self._temporary, self.counts, self.modality)
            try:
                removed = self._prepare()
            except Exception as error:
                self._stand_alone(error)
            else:
                self._put(rehearsal, shapes)
        if self.alone:
            return [
                f"{source.path} cannot be copied with the results in it ({self.alone}); "
                f"{self.path.name} will have the results alone: obs and obsm."
            ]
        return [
            f"{name} of {source.path} is left out of {self.path.name}: {problem}."
            for name, problem in removed.items()
        ]

    def _prepare(self) -> dict[str, str]:
        import anndata
        import h5py

        with h5py.File(self._temporary, "r+", locking=False) as file:
            if leads_outside(file):
                raise ValueError("some of it lies in other files")
            if modern := all(is_table(file[name]) for name in ("obs", "var")):
                return remove_unreadable(file)
            compressed = _compressed(file)
        if not modern:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                adata = anndata.read_h5ad(self._temporary)
                adata.write_h5ad(self._temporary, compression="gzip" if compressed else None)
        return {}

    def finish(self, obs: pd.DataFrame, obsm: Mapping[str, np.ndarray]) -> list[str]:
        """Put the results in, and let the file appear.

        Returns
        -------
        list of str
            What it lacks that was not foreseen.
        """
        import anndata

        foreseen = bool(self.alone)
        if not foreseen:
            self._put(obs, obsm)
        if self.alone:
            anndata.AnnData(obs=obs, obsm=dict(obsm)).write_h5ad(self._temporary)
        self._stack.close()
        if self.alone and not foreseen:
            return [f"{self.path.name} has the results alone, obs and obsm ({self.alone})."]
        return []

    def _put(self, obs: pd.DataFrame, obsm: Mapping[str, np.ndarray]) -> None:
        import h5py

        try:
            with h5py.File(self._temporary, "r+", locking=False) as file:
                put(file, obs, obsm)
        except Exception as error:
            self._stand_alone(error)

    def _stand_alone(self, error: Exception) -> None:
        """Give the copy up, unless it is the system that refuses to write."""
        if refused(error):
            raise error
        self.alone = first_line(error)
        self._temporary.write_bytes(b"")


def _compressed(file) -> bool:
    """Return whether anything in a file is compressed."""
    found = []
    file.visititems(lambda _, part: found.append(getattr(part, "compression", None)))
    return any(found)
