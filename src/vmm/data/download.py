"""Files of a data set: taken from a mirror or fetched, always verified, never half written."""

from __future__ import annotations

import glob
import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from vmm.data.source import Checksum, RemoteFile
from vmm.data.supplied import supplied
from vmm.data.transfer import GivenUpError, transfer
from vmm.data.verification import digest, verify
from vmm.errors import InputError
from vmm.io import refused

log = logging.getLogger(__name__)


class Fetched(NamedTuple):
    """A verified file on this machine."""

    path: Path
    checksum: Checksum | None = None
    """What the file was verified against."""
    record: Mapping[str, str] = MappingProxyType({})
    """For the data set's description: name, origin, sha256, what was verified."""


def fetch(
    file: RemoteFile,
    dataset: str,
    mirror: str | None,
    cache_dir: str | Path,
    attempts: int = 5,
    pause: float = 1.0,
) -> Fetched:
    """Return a verified copy of `file`.

    A mirror, a directory or a URL, replaces all of the file's URLs. One that is a directory is used
    in place. Everything else comes to ``<cache_dir>/<dataset>/<name>``, unless a good copy lies
    there already. `attempts` and `pause` are as for :func:`vmm.data.transfer.transfer`.
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
            origin = "cache"
            if not _is_there(target, file.checksum):
                origin = _fetch_any(file, dataset, mirror, target, attempts, pause)
            name, suffix = glob.escape(target.stem), glob.escape(target.suffix)
            parts = target.parent.glob(f".{name}.????????.part{suffix}*")
            for left in parts:  # by other URLs, or a kill
                left.unlink()
    except OSError as error:
        if refusal := refused(error):
            raise InputError(f"{target} cannot be written: {refusal}") from error
        raise
    return Fetched(target, file.checksum, _record(file, target, origin))


def take(file: RemoteFile, dataset: str, path: str | Path) -> Fetched:
    """Return the user's copy of `file`, which lies at `path` and must match any checksum."""
    found = supplied(path, f"`path:` of the data set {dataset!r} must name a file")
    record = _record(file, found, "path")
    if file.checksum is not None and record["sha256"] != file.checksum.digest:
        raise InputError(
            f"{found} has the wrong checksum (sha256 {record['sha256']}; `sha256:` says "
            f"{file.checksum.digest})."
        )
    return Fetched(found, file.checksum, record)


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


def _in_directory(file: RemoteFile, folder: Path) -> Path:
    for name in (file.name, *file.mirror_names):
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"the mirror has no {folder / file.name}; put the file there.")


def _is_there(target: Path, checksum: Checksum | None) -> bool:
    """Return whether a good copy lies at `target`; one that is not good is removed."""
    if not target.exists():
        return False
    problem = verify(target, checksum)
    if problem:
        log.warning("%s %s: fetched again", target, problem)
        target.unlink()
    return not problem


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
            transfer(url, target, file.checksum, attempts, pause)
            return url
        except GivenUpError as error:
            reasons.append(f"{url} {error}")
    raise InputError(
        f"{file.name} of the data set {dataset} could not be had: {'; '.join(reasons)}. "
        f"Fetch it by other means and put it at {target}, or name a `mirror:`."
    )
