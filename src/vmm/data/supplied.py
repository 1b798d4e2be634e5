"""Files that users supply: found, readable, and damaged ones told in a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vmm.errors import InputError


def is_zarr(path: str | Path) -> bool:
    """Return whether a path is a zarr store: a folder that stands for a file."""
    return any((Path(path) / name).is_file() for name in ("zarr.json", ".zgroup"))


def lack(path: str | Path) -> str:
    """Return why a path does not name a readable file, the end of a sentence; empty if it does.

    A folder that is a zarr store is as good as a file.
    """
    try:
        path = Path(path).expanduser()
        if is_zarr(path):
            return ""
        if path.exists() and not path.is_file():
            return "is not a file"
        with path.open("rb") as file:
            file.read(1)
    except FileNotFoundError:
        return "does not exist"
    except OSError as error:  # no permission, a broken disk, a name that is too long
        return f"cannot be read ({error.strerror})"
    except (RuntimeError, ValueError) as error:  # the home of nobody, a null byte
        return f"is not a path ({str(error).rstrip('.')})"
    return ""


def supplied(path: str | Path, named_by: str) -> Path:
    """Return a path that names a readable file, ``~`` resolved, or refuse it.

    `named_by` is what the user wrote it for, such as "`path:` must name an .h5ad file".
    """
    if problem := lack(path):
        raise InputError(f"{path} {problem}; {named_by}.")
    return Path(path).expanduser()


@contextmanager
def reading(path: str | Path, problem: str) -> Iterator[None]:
    """Say in one sentence that a file is damaged or of another form, whatever its reader raises.

    `problem` is what to say of it, such as "cannot be read as a table of cells".
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{path} {problem}: {reason}.") from error
