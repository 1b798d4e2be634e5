"""Files that appear whole or not at all, and damaged ones that are told from whole ones."""

from __future__ import annotations

import errno
import glob
import io
import json
import os
import pickle
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmm.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "make its folder writable or use another",
    errno.EACCES: "make its folder writable or use another",
    errno.EPERM: "make its folder writable or use another",
}
"""What helps when the system refuses to write."""

UNREADABLE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
"""What libraries raise on damaged files."""


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Write to a temporary file beside `path`, and rename it to `path` when all went well.

    Yields
    ------
    pathlib.Path
        The temporary file, with the same suffix as `path`. It is removed if the block raises.

    Raises
    ------
    InputError
        If the system refuses to write: no space, no permission.
    """
    path = Path(path)
    with _refusals(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | os.PathLike, name: str | None = None) -> None:
    """Remove temporary files of :func:`atomic` that a killed process left.

    Nobody else may write there now. Of the file `name`. By default of any: hidden files with a dash
    in their names, so in folders that hold nothing but what the project wrote.
    """
    pattern = ".*-*"
    if name is not None:
        stem, suffix = map(glob.escape, os.path.splitext(name))
        pattern = f".{stem}-????????{suffix}"
    for leftover in Path(folder).glob(pattern):
        leftover.unlink(missing_ok=True)


def whole(files: Iterable[Path]) -> list[Path]:
    """Return files in order, without the temporary ones of :func:`atomic`."""
    return sorted(path for path in files if not path.name.startswith("."))


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Say in one sentence that the system refused to write `path`, and what helps."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        refusal = refused(error)
        if refusal is None:
            raise
        raise InputError(f"{path} cannot be written: {refusal}") from error


def refused(error: BaseException | None) -> str | None:
    """Return why the system refused to write and what helps, the end of a sentence.

    None where it did not. Libraries raise errors of their own over the system's: all are looked at.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in REMEDIES:
            return f"{os.strerror(error.errno)}; {REMEDIES[error.errno]}, then start again."
        error = error.__cause__ or error.__context__
    return None


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike, *keys: str) -> Any:
    """Read a JSON file that the project wrote, in which these keys must be."""
    with damage(path):
        value = json.loads(Path(path).read_text())
        for key in keys:
            value[key]
        return value


def read_table(path: str | os.PathLike, names: Iterable[str] = (), **options: Any) -> pd.DataFrame:
    """Read a CSV file that the project wrote, by ``pandas.read_csv`` with these options.

    The columns `names` stay as they are written: a data set may be called 007, a method None.
    """
    import pandas as pd

    with damage(path):
        text = Path(path).read_text(encoding="utf-8")
        if not text.endswith("\n"):
            raise ValueError("its last line is not whole")
        table = pd.read_csv(io.StringIO(text), **options)
        kept = [name for name in names if name in table]
        if kept:
            written = pd.read_csv(io.StringIO(text), usecols=kept, dtype=str, na_filter=False)
            table[kept] = written[kept].astype(object)
        return table


def read_arrays(
    path: str | os.PathLike, *keys: str, mapped: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file that the project wrote; nothing is unpickled.

    Those of `keys` must be in it. Those that are `mapped` are left in the file, where they are not
    compressed, and read when looked at.
    """
    import numpy as np

    with damage(path):
        check_sums(path)  # which numpy looks at only where it reads to the end
        with np.load(path, allow_pickle=False) as file:
            arrays = {
                key: left if (left := _mapped(path, key, mapped)) is not None else file[key]
                for key in file.files
            }
        for key in keys:
            arrays[key]
        return arrays


def _mapped(path: str | os.PathLike, key: str, wanted: Collection[str]) -> np.ndarray | None:
    """Return an array of an ``.npz`` file that stays there; None of one that cannot or shall not.

    A member that is not compressed is an ``.npy`` file within the file: after the lengths of its
    name and of what else is said of it, which zipfile does not know, come these and the file.
    """
    import numpy as np

    if key not in wanted:
        return None
    with zipfile.ZipFile(path) as archive, Path(path).open("rb") as file:
        member = archive.getinfo(f"{key}.npy")
        file.seek(member.header_offset + 26)
        file.seek(sum(struct.unpack("<HH", file.read(4))), os.SEEK_CUR)
        if member.compress_type != zipfile.ZIP_STORED or np.lib.format.read_magic(file) != (1, 0):
            return None
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
        if 0 in shape or by_columns or dtype.hasobject:
            return None
        return np.memmap(path, dtype, "r", file.tell(), shape)


def check_sums(path: str | os.PathLike) -> None:
    """Raise unless a zip file has as many members as it says, each with the right checksum."""
    with zipfile.ZipFile(path) as file:
        if damaged := file.testzip():
            raise zipfile.BadZipFile(f"bad checksum of {damaged}")
        members = len(file.namelist())
    with Path(path).open("rb") as end:
        end.seek(-12, os.SEEK_END)  # of the end record, which zipfile does not compare
        (said,) = struct.unpack("<H", end.read(2))
    if members != said:
        raise zipfile.BadZipFile(f"{members} members instead of {said}")


@contextmanager
def damage(path: str | os.PathLike) -> Iterator[None]:
    """Say in one sentence that a file of ours is damaged, and what helps."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0] or repr(error)
        if isinstance(error, KeyError):
            reason = f"it lacks {error}"
        raise InputError(
            f"{path} is damaged ({reason}); remove it and start again, then it is made anew."
        ) from error
