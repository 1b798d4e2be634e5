"""One file from one address by HTTP, resumed where it broke off.

Large files over unreliable lines are the normal case, so an interrupted transfer is resumed where
the server allows it (HTTP ranges with a validator), by the same process or a later one.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from vmm import progress
from vmm.data.source import Checksum
from vmm.data.verification import verify

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

TIMEOUT = 60.0  # seconds without a byte
LONGEST_PAUSE = 30.0
CHUNK = 1 << 18
RETRY_STATUS = {202, 408, 425, 429}  # 202: figshare while it wakes an archived file


class GivenUpError(Exception):
    """The server will not give this file, however often it is asked, or not today."""


class _TransientError(GivenUpError):
    """The transfer failed in a way that may pass."""


def transfer(
    url: str, target: Path, checksum: Checksum | None, attempts: int = 5, pause: float = 1.0
) -> None:
    """Fetch a verified file, resuming and repeating, or raise GivenUpError.

    Parts of a transfer lie beside the target, by a name that depends on the URL. `pause` are the
    seconds before the second attempt, doubled before each further one, at most
    :data:`LONGEST_PAUSE`.
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
            _resume(url, part)
            if problem := verify(part, checksum):
                _discard(part)
                # What was resumed may have begun as another version: once more, whole.
                error = _TransientError if resumed else GivenUpError
                raise error(f"gave a file that {problem}")
    part.replace(target)
    _validator(part).unlink(missing_ok=True)


def _resume(url: str, part: Path) -> None:
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
        raise GivenUpError(f"leads nowhere: {error}") from error
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
        raise GivenUpError(answer)
    if "text/html" in response.headers.get("Content-Type", ""):
        raise GivenUpError("answered with a web page instead of the file")


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
