from __future__ import annotations

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vmm.data.download import Checksum, RemoteFile, fetch, verify
from vmm.errors import InputError

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SUM = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


def remote(server, name: str = "file.bin", checksum: Checksum | None = SUM, **more) -> RemoteFile:
    server.files.setdefault(f"/{name}", CONTENT)
    return RemoteFile(name, (f"{server.url}/{name}",), checksum, **more)


def get(file: RemoteFile, cache: Path, mirror: str | None = None, attempts: int = 3):
    return fetch(file, "set", mirror, cache, attempts=attempts, pause=0.0)


def leftovers(cache: Path) -> list[str]:
    return sorted(p.name for p in (cache / "set").iterdir() if not p.name.endswith(".lock"))


def test_a_file_is_fetched_once(server, tmp_path: Path) -> None:
    file = remote(server)
    first, second = get(file, tmp_path), get(file, tmp_path)
    assert first.path == second.path == tmp_path / "set" / "file.bin"
    assert first.path.read_bytes() == CONTENT
    assert len(server.log) == 1
    assert first.record["fetched_from"] == file.urls[0]
    assert second.record["fetched_from"] == "cache"
    assert first.record["sha256"] == SUM.digest
    assert leftovers(tmp_path) == ["file.bin"]


def test_passing_failures_are_tried_again(server, tmp_path: Path) -> None:
    file = remote(server)
    server.faults["/file.bin"] = [503, 429]
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    assert len(server.log) == 3


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path: Path) -> None:
    file = remote(server)
    server.faults["/file.bin"] = ["cut", "cut"]
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    half, quarter = len(CONTENT) // 2, len(CONTENT) // 4
    assert [wanted for _, wanted in server.log] == [
        None,
        f"bytes={half}-",
        f"bytes={half + quarter}-",
    ]
    assert leftovers(tmp_path) == ["file.bin"]


def test_a_later_process_goes_on_too(server, tmp_path: Path) -> None:
    file = remote(server)
    server.faults["/file.bin"] = ["cut"]
    with pytest.raises(InputError, match=r"broke off after 524,288 of 1,048,576 bytes"):
        get(file, tmp_path, attempts=1)
    assert not (tmp_path / "set" / "file.bin").exists()
    get(file, tmp_path, attempts=1)
    assert server.log[1][1] == "bytes=524288-"
    assert (tmp_path / "set" / "file.bin").read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_starts_anew(server, tmp_path: Path) -> None:
    file = remote(server, checksum=None)
    server.faults["/file.bin"] = ["cut"]
    with pytest.raises(InputError):
        get(file, tmp_path, attempts=1)
    server.files["/file.bin"] = CONTENT[::-1]
    assert get(file, tmp_path).path.read_bytes() == CONTENT[::-1]


def test_without_validators_nothing_is_glued_together(server, tmp_path: Path) -> None:
    file = remote(server)
    server.validators = False
    server.faults["/file.bin"] = ["cut"]
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.log] == [None, None]


def test_a_wrong_checksum_is_refused_and_leaves_nothing(server, tmp_path: Path) -> None:
    file = remote(server, checksum=Checksum("sha256", "0" * 64))
    with pytest.raises(InputError, match="wrong checksum") as caught:
        get(file, tmp_path)
    assert SUM.digest in str(caught.value) and "0" * 64 in str(caught.value)
    assert str(tmp_path / "set" / "file.bin") in str(caught.value)  # where to put it by hand
    assert len(server.log) == 1  # asking again would not help
    assert leftovers(tmp_path) == []


def test_a_web_page_is_refused(server, tmp_path: Path) -> None:
    file = remote(server, checksum=None)
    server.faults["/file.bin"] = ["html"]
    with pytest.raises(InputError, match="a web page"):
        get(file, tmp_path)
    assert leftovers(tmp_path) == []


def test_an_absent_file_is_refused_at_once(server, tmp_path: Path) -> None:
    file = RemoteFile("gone.bin", (f"{server.url}/gone.bin",), SUM)
    with pytest.raises(InputError, match=r"gone\.bin answered 404"):
        get(file, tmp_path)
    assert len(server.log) == 1


def test_the_second_url_serves_when_the_first_does_not(server, tmp_path: Path) -> None:
    remote(server)
    urls = (f"{server.url}/gone.bin", "http://127.0.0.1:9/file.bin", f"{server.url}/file.bin")
    fetched = get(RemoteFile("file.bin", urls, SUM), tmp_path)
    assert fetched.record["fetched_from"] == urls[2]


def test_a_damaged_copy_in_the_cache_is_replaced(server, tmp_path: Path) -> None:
    file = remote(server)
    path = get(file, tmp_path).path
    path.write_bytes(CONTENT[:-1])
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    assert len(server.log) == 2


def test_two_at_once_fetch_once(server, tmp_path: Path) -> None:
    file = remote(server)
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: get(file, tmp_path).path, range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert len(server.log) == 1


@pytest.mark.parametrize("name", ["file.bin", "nested/file.dat"])
def test_a_mirror_replaces_every_url(server, tmp_path: Path, name: str) -> None:
    file = RemoteFile("file.bin", ("http://127.0.0.1:9/x",), SUM, ("nested/file.dat",))
    server.files[f"/m/set/{name}"] = CONTENT
    fetched = get(file, tmp_path / "cache", mirror=f"{server.url}/m/")
    assert fetched.record["fetched_from"] == f"{server.url}/m/set/{name}"
    folder = tmp_path / "mirror" / "set"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(CONTENT)
    fetched = get(file, tmp_path / "unused", mirror=str(tmp_path / "mirror"))
    assert fetched.path == folder / name  # in place
    assert not (tmp_path / "unused").exists()


def test_a_mirror_is_verified_too(tmp_path: Path) -> None:
    file = RemoteFile("file.bin", ("http://127.0.0.1:9/x",), SUM)
    with pytest.raises(InputError, match=r"the mirror has no .*set/file\.bin"):
        get(file, tmp_path, mirror=str(tmp_path))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "file.bin").write_bytes(CONTENT[:10])
    with pytest.raises(InputError, match="wrong checksum"):
        get(file, tmp_path, mirror=str(tmp_path))


def test_verify_looks_inside(tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT, mtime=0)
    inside = Checksum("sha256", SUM.digest, decompressed=True)
    cases = [
        ("a.gz", packed, inside, ""),
        ("a.gz", gzip.compress(CONTENT, 1, mtime=5), inside, ""),  # packed otherwise
        ("a.gz", gzip.compress(CONTENT[1:]), inside, "decompressed content"),
        ("a.gz", packed[:-20], inside, "truncated or damaged"),
        ("a.gz", packed[:-20], None, "truncated or damaged"),
        ("a.gz", packed, None, ""),
        ("a.gz", CONTENT, None, "is not a gzip file"),
        ("a.h5ad", CONTENT, None, "is not an HDF5 file"),
        ("a.h5ad", b"\n <HTML><body>503</body>", None, "is a web page"),
        ("a.csv", b"", None, "is empty"),
        ("a.csv", b"gene,count\n", None, ""),
    ]
    for name, content, checksum, problem in cases:
        path = tmp_path / name
        path.write_bytes(content)
        found = verify(path, checksum)
        assert (problem in found) if problem else found == "", (name, found)
