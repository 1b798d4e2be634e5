"""Remote files: found in a mirror or fetched, always verified, never half written.

Large files over unreliable lines are the normal case, so an interrupted transfer is resumed where
the server allows it (HTTP ranges with a validator), by the same process or a later one.
"""

from __future__ import annotations

import glob
import gzip
import hashlib
import logging
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from vmm import progress
from vmm.errors import InputError
from vmm.io import refused

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

CHUNK = 1 << 18
TIMEOUT = 60.0  # seconds without a byte
LONGEST_PAUSE = 30.0
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
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            origin = _fetch_to(target, file, dataset, mirror, attempts, pause)
    except OSError as error:
        if refusal := refused(error):
            raise InputError(f"{target} cannot be written: {refusal}") from error
        raise
    return Fetched(target, file.checksum, _record(file, target, origin))


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
    try:
        parts = urlsplit(str(place))
    except ValueError:  # no address, whatever it was meant to be
        return False
    return parts.scheme in {"http", "https"} and bool(parts.netloc)


def _is_html(start: bytes) -> bool:
    text = start.lstrip().lower()
    return text.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head"))


def _in_directory(file: RemoteFile, folder: Path) -> Path:
    for name in (file.name, *file.mirror_names):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the mirror has no {folder / file.name}; put the file there.")


def _fetch_to(
    target: Path,
    file: RemoteFile,
    dataset: str,
    mirror: str | None,
    attempts: int,
    pause: float,
) -> str:
    """See to it that a good copy lies at `target`; return where it is from."""
    origin = ""
    if target.exists():
        if problem := verify(target, file.checksum):
            log.warning("%s %s: fetched again", target, problem)
            target.unlink()
        else:
            origin = "cache"
    origin = origin or _fetch_any(file, dataset, mirror, target, attempts, pause)
    name, suffix = glob.escape(target.stem), glob.escape(target.suffix)
    for left in target.parent.glob(f".{name}.????????.part{suffix}*"):  # by other URLs, or a kill
        left.unlink()
    return origin


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
    import tenacity

    tag = hashlib.sha256(url.encode()).hexdigest()[:8]
    part = target.with_name(f".{target.stem}.{tag}.part{target.suffix}")
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_TransientError),
        stop=tenacity.stop_after_attempt(attempts),
        wait=tenacity.wait_exponential(pause, max=LONGEST_PAUSE),
        before_sleep=tenacity.before_sleep_log(log, logging.WARNING),
        reraise=True,
    )
    for attempt in retrying:
        with attempt:
            resumed = part.exists()
            _transfer(url, part)
            if problem := verify(part, file.checksum):
                _discard(part)
                # What was resumed may have begun as another version: once more, whole.
                error = _TransientError if resumed else _RefusedError
                raise error(f"gave a file that {problem}")
    part.replace(target)
    _validator(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path) -> None:
    """Bring `url` to `part`, going on from what is there where the server allows it."""
    import requests

    start = part.stat().st_size if part.exists() else 0
    validator = _validator(part).read_text() if start and _validator(part).exists() else ""
    headers = {"User-Agent": "vmm (Python)", "Accept-Encoding": "identity"}
    if validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            _check_status(response, part)
            _receive(response, part, start)
    except (
        requests.TooManyRedirects,
        requests.exceptions.InvalidSchema,
        requests.exceptions.InvalidURL,
        requests.exceptions.MissingSchema,
    ) as error:
        raise _RefusedError(f"leads nowhere: {error}") from error
    except requests.RequestException as error:
        raise _TransientError(f"failed: {error}") from error


def _check_status(response: requests.Response, part: Path) -> None:
    """Raise unless the response carries the file or the rest of it."""
    status = response.status_code
    answer = f"answered {status} {response.reason}"
    if status == 416:
        _discard(part)
    if status in RETRY_STATUS or status == 416 or status >= 500:
        raise _TransientError(answer)
    if status not in (200, 206):
        raise _RefusedError(answer)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise _RefusedError("answered with a web page instead of the file")


def _receive(response: requests.Response, part: Path, start: int) -> None:
    """Write a response's body to `part`, behind its first `start` bytes if it continues them."""
    import requests
    from tqdm import tqdm

    continued = response.status_code == 206
    if continued and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        _discard(part)
        raise _TransientError("answered with another range than asked for")
    if not continued:
        _discard(part)  # before there is a validator of the new content
        start = 0
    etag = response.headers.get("ETag", "")
    strong = etag if etag and not etag.startswith("W/") else ""
    _validator(part).write_text(strong or response.headers.get("Last-Modified", ""))
    length = response.headers.get("Content-Length")
    total = None if length is None else start + int(length)
    bar = tqdm(
        desc=part.name, total=total, initial=start, unit="B", unit_scale=True, mininterval=10,
        file=progress.stream(),
    )  # fmt: skip
    with part.open("ab" if continued else "wb") as out, bar:
        try:
            for chunk in response.iter_content(CHUNK):
                out.write(chunk)
                bar.update(len(chunk))
        except requests.RequestException as error:
            of_total = "" if total is None else f" of {total:,}"
            raise _TransientError(f"broke off after {bar.n:,}{of_total} bytes") from error


def _validator(part: Path) -> Path:
    """File with what tells one version of the remote file from another."""
    return part.with_name(part.name + ".validator")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator(part).unlink(missing_ok=True)
