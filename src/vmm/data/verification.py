"""Whether a file is what it should be: its checksum, or at least its kind."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from functools import partial
from pathlib import Path

from vmm.data.source import Checksum

MAGIC = {".gz": (b"\x1f\x8b", "a gzip file"), ".h5ad": (b"\x89HDF\r\n\x1a\n", "an HDF5 file")}


def verify(path: Path, checksum: Checksum | None) -> str:
    """Return what is wrong with a file as the end of a sentence, or an empty string.

    Without a published checksum the file must at least be what its suffix says: a gzip file that
    can be read to its end, an HDF5 file; and never a web page.
    """
    with path.open("rb") as handle:
        start = handle.read(512)
    if _is_html(start):
        return "is a web page (an error page of a server, probably), not data"
    magic, kind = MAGIC.get(path.suffix, (b"", ""))
    if not start.startswith(magic):
        return f"is not {kind}"
    try:
        if checksum is not None:
            found = digest(path, checksum.algorithm, checksum.decompressed)
        elif path.suffix == ".gz":
            digest(path, "md5", decompressed=True)
            return ""
        else:
            return "" if start else "is empty"
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "is truncated or damaged"
    if found != checksum.digest:
        what = "decompressed content" if checksum.decompressed else "content"
        return (
            f"has the wrong checksum (its {what} has {checksum.algorithm} {found}, "
            f"it must be {checksum.digest})"
        )
    return ""


def digest(path: Path, algorithm: str, decompressed: bool = False) -> str:
    """Checksum of a file, or of what a gzip file contains, in hexadecimal.

    Of a folder, that of the names in it and of what is in them.
    """
    new = partial(hashlib.new, algorithm, usedforsecurity=False)
    if not path.is_dir():
        with gzip.open(path, "rb") if decompressed else path.open("rb") as handle:
            return hashlib.file_digest(handle, new).hexdigest()
    total = new()
    for file in files_in(path):
        total.update(f"{file.relative_to(path).as_posix()}\0{digest(file, algorithm)}\n".encode())
    return total.hexdigest()


def files_in(path: Path) -> list[Path]:
    """Return a file, or all files in a folder at any depth, in the order of their names."""
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _is_html(start: bytes) -> bool:
    text = start.lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head"))
