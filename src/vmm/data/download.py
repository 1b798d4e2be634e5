"""Remote files: found in a mirror or fetched, always verified, never half written.

Large files over unreliable lines are the normal case, so an interrupted transfer is resumed where
the server allows it (HTTP ranges with a validator), by the same process or a later one.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import logging
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from vmm.errors import InputError

log = logging.getLogger(__name__)

CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
RETRY_STATUS = {202, 408, 425, 429}  # 202: figshare while it wakes an archived file
MAGIC = {".gz": (b"\x1f\x8b", "a gzip file"), ".h5ad": (b"\x89HDF\r\n\x1a\n", "an HDF5 file")}


class Checksum(NamedTuple):
    """What the bytes of a file must hash to."""

    algorithm: str
    digest: str
    decompressed: bool = False
    """Whether the sum is of what the gzip file contains."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that a data set needs.

    Parameters
    ----------
    name
        Its name in the cache and in a mirror (``<mirror>/<data set>/<name>``).
    urls
        Where it can be had, in the order to try.
    checksum
        What it must hash to; None where nobody published a sum.
    mirror_names
        Further names by which a mirror may have it.
    """

    name: str
    urls: tuple[str, ...]
    checksum: Checksum | None = None
    mirror_names: tuple[str, ...] = ()


class Fetched(NamedTuple):
    """A verified file on this machine."""

    path: Path
    checksum: Checksum | None = None
    """What the file was verified against."""
    record: Mapping[str, str] = MappingProxyType({})
    """For the data set's description: name, origin, sha256, what was verified."""


class _TransientError(Exception):
    """The transfer failed in a way that may pass."""


class _RefusedError(Exception):
    """The server will not give this file, however often it is asked."""


def fetch(
    file: RemoteFile,
    dataset: str,
    mirror: str | None,
    cache_dir: str | Path,
    attempts: int = 5,
    pause: float = 1.0,
) -> Fetched:
    """Return a verified copy of `file`.

    A mirror that is a directory is used in place. Everything else comes to
    ``<cache_dir>/<dataset>/<name>``, unless a good copy lies there already.

    Parameters
    ----------
    file
        What is needed.
    dataset
        Name of the data set, a folder of the mirror and of the cache.
    mirror
        Directory or URL that replaces all of the file's URLs; None: the URLs.
    cache_dir
        Where downloads are kept.
    attempts
        How often a transfer is tried before its URL is given up.
    pause
        Seconds before the second attempt; doubled before each further one, at most 30.

    Raises
    ------
    InputError
        If the file cannot be had, or is not what it should be.
    """
    if mirror is not None and not is_url(mirror):
        path = _in_directory(file, Path(mirror).expanduser() / dataset)
        if problem := verify(path, file.checksum):
            raise InputError(f"{path} {problem}; replace it by the original file.")
        return Fetched(path, file.checksum, _record(file, path, "mirror"))
    target = Path(cache_dir).expanduser() / dataset / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target):
        if target.exists():
            problem = verify(target, file.checksum)
            if not problem:
                return Fetched(target, file.checksum, _record(file, target, "cache"))
            log.warning("%s %s: fetched again", target, problem)
            target.unlink()
        url = _fetch_any(file, dataset, mirror, target, attempts, pause)
    return Fetched(target, file.checksum, _record(file, target, url))


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
    """Checksum of a file, or of what a gzip file contains, in hexadecimal."""
    total = hashlib.new(algorithm, usedforsecurity=False)
    with gzip.open(path, "rb") if decompressed else path.open("rb") as handle:
        while chunk := handle.read(CHUNK):
            total.update(chunk)
    return total.hexdigest()


def _record(file: RemoteFile, path: Path, origin: str) -> dict[str, str]:
    checksum = file.checksum
    return {
        "name": file.name,
        "url": file.urls[0] if file.urls else "",
        "fetched_from": origin,
        "sha256": digest(path, "sha256"),
        "verified": "no published checksum"
        if checksum is None
        else f"{checksum.algorithm} {checksum.digest}"
        + (" of the decompressed bytes" if checksum.decompressed else ""),
    }


def is_url(place: str) -> bool:
    """Whether a place is a URL, not a directory."""
    return urllib.parse.urlsplit(str(place)).scheme in {"http", "https", "ftp", "file"}


def _is_html(start: bytes) -> bool:
    text = start.lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head"))


def _in_directory(file: RemoteFile, folder: Path) -> Path:
    for name in (file.name, *file.mirror_names):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the mirror has no {folder / file.name}; put the file there.")


def _fetch_any(
    file: RemoteFile, dataset: str, mirror: str | None, target: Path, attempts: int, pause: float
) -> str:
    """Fetch from the first URL that gives the right file; return this URL."""
    urls: list[str] = list(file.urls)
    if mirror is not None:
        names = (file.name, *file.mirror_names)
        urls = [f"{str(mirror).rstrip('/')}/{dataset}/{name}" for name in names]
    reasons = []
    for url in urls:
        try:
            _fetch_url(url, file, target, attempts, pause)
            return url
        except (_RefusedError, _TransientError) as error:
            reasons.append(f"{url} {error}")
    raise InputError(
        f"{file.name} of the data set {dataset} could not be had: {'; '.join(reasons)}. "
        f"Fetch it by other means and put it at {target}, or name a `mirror:`."
    )


def _fetch_url(url: str, file: RemoteFile, target: Path, attempts: int, pause: float) -> None:
    """Fetch `url` to `target`, resuming and repeating.

    Parts of a transfer lie beside the target, by a name that depends on the URL.
    """
    tag = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = target.with_name(f".{target.stem}.{tag}.part{target.suffix}")
    for attempt in range(attempts):
        if attempt:
            time.sleep(min(pause * 2 ** (attempt - 1), 30))
        resumed = part.exists()
        try:
            _transfer(url, part)
        except _TransientError as error:
            log.warning("%s %s (attempt %d of %d)", url, error, attempt + 1, attempts)
            if attempt + 1 == attempts:
                raise
            continue
        problem = verify(part, file.checksum)
        if not problem:
            part.replace(target)
            _validator(part).unlink(missing_ok=True)
            return
        _discard(part)
        if not resumed:  # else the beginning may have been of another version: once more, whole
            raise _RefusedError(f"gave a file that {problem}")
    raise _RefusedError(f"gave a file that {problem}")


def _transfer(url: str, part: Path) -> None:
    """Bring `url` to `part`, going on from what is there where the server allows it."""
    start = part.stat().st_size if part.exists() else 0
    validator = _validator(part).read_text() if start and _validator(part).exists() else ""
    request = urllib.request.Request(
        url, headers={"User-Agent": "vmm (Python)", "Accept-Encoding": "identity"}
    )
    if validator:
        request.add_header("Range", f"bytes={start}-")
        request.add_header("If-Range", validator)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            _receive(response, part, start)
    except urllib.error.HTTPError as error:
        if error.code == 416:
            _discard(part)
        elif error.code not in RETRY_STATUS and error.code < 500:
            raise _RefusedError(f"answered {error.code} {error.reason}") from error
        raise _TransientError(f"answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _TransientError(f"failed: {getattr(error, 'reason', error)}") from error


def _receive(response: http.client.HTTPResponse, part: Path, start: int) -> None:
    """Write a response's body to `part`, behind its first `start` bytes if it continues them."""
    status = getattr(response, "status", None) or 200
    if status not in (200, 206):
        raise _TransientError(f"answered {status}")
    if "text/html" in response.headers.get("Content-Type", ""):
        raise _RefusedError("answered with a web page instead of the file")
    continued = status == 206 and response.headers.get("Content-Range", "").startswith(
        f"bytes {start}-"
    )
    if status == 206 and not continued:
        _discard(part)
        raise _TransientError("answered with another range than asked for")
    start = start if continued else 0
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers["Last-Modified"]
    _validator(part).write_text(validator or "")
    length = response.headers.get("Content-Length")
    expected = None if length is None else start + int(length)
    with part.open("ab" if continued else "wb") as out:
        size = start + _copy(response, out, start, expected, part.name)
    if expected is not None and size != expected:
        raise _TransientError(f"broke off after {size:,} of {expected:,} bytes")


def _copy(
    response: http.client.HTTPResponse, out: BinaryIO, start: int, total: int | None, name: str
) -> int:
    """Copy the body, with a line of progress every ten seconds; return the number of bytes."""
    copied, last = 0, time.monotonic()
    while chunk := response.read(CHUNK):
        out.write(chunk)
        copied += len(chunk)
        if time.monotonic() - last > 10:
            last = time.monotonic()
            of_total = f" of {total / 1e6:,.0f}" if total else ""
            log.info("%s: %s%s MB", name, f"{(start + copied) / 1e6:,.0f}", of_total)
    return copied


def _validator(part: Path) -> Path:
    """File with what tells one version of the remote file from another."""
    return part.with_name(part.name + ".validator")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Let one process at a time fetch `target` (where the system has file locks)."""
    with target.with_name(f".{target.name}.lock").open("w") as handle:
        try:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        except (ImportError, OSError):
            log.debug("no file lock for %s", target)
        yield
