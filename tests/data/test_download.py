from __future__ import annotations

import gzip
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import tqdm
from disk import mounted

from vmm.data import download
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


@pytest.mark.parametrize(("fault", "second"), [("stall", "bytes=524288-"), ("silence", None)])
def test_a_server_that_falls_silent_is_asked_again(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, second: str | None
) -> None:
    """After a time without a byte, and from where it stopped."""
    monkeypatch.setattr(download, "TIMEOUT", 0.5)
    file = remote(server)
    server.faults["/file.bin"] = [fault]
    assert get(file, tmp_path).path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.log] == [None, second]
    assert leftovers(tmp_path) == ["file.bin"]


def test_a_server_that_stays_silent_is_given_up(server, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.2)
    file = remote(server)
    server.faults["/file.bin"] = ["silence", "silence"]
    with pytest.raises(InputError, match=r"file\.bin failed: .*[Rr]ead timed out"):
        get(file, tmp_path, attempts=2)
    assert len(server.log) == 2
    assert leftovers(tmp_path) == []


def test_a_slow_server_is_waited_for(server, tmp_path: Path, monkeypatch) -> None:
    """What counts is the time without a byte, not the whole."""
    monkeypatch.setattr(download, "TIMEOUT", 0.6)
    file = remote(server)
    server.faults["/file.bin"] = ["slow"]  # 4 pieces, 0.8 s
    assert get(file, tmp_path, attempts=1).path.read_bytes() == CONTENT
    assert len(server.log) == 1


def test_a_redirection_is_followed(server, tmp_path: Path) -> None:
    """When a cut transfer goes on too."""
    file = remote(server)
    moved = RemoteFile("file.bin", (f"{server.url}/old/file.bin",), SUM)
    other = server.url.replace("127.0.0.1", "localhost")
    server.redirects["/old/file.bin"] = f"{other}/file.bin"
    server.faults["/file.bin"] = ["cut"]
    fetched = get(moved, tmp_path)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.record["url"] == moved.urls[0]
    wanted = "bytes=524288-"
    assert server.log == [
        ("/old/file.bin", None),
        ("/file.bin", None),
        ("/old/file.bin", wanted),
        ("/file.bin", wanted),
    ]
    assert file.urls[0].endswith(server.log[1][0])


@pytest.mark.parametrize("target", ["/a", "file:///etc/passwd", "ftp://127.0.0.1/a"])
def test_a_redirection_to_nowhere_is_refused_at_once(server, tmp_path: Path, target: str) -> None:
    """In a circle, to a file of this machine, to another protocol."""
    file = RemoteFile("file.bin", (f"{server.url}/a",), SUM)
    server.redirects["/a"] = target
    with pytest.raises(InputError, match="/a leads nowhere: "):
        get(file, tmp_path)
    assert len(server.log) == (31 if target == "/a" else 1)  # requests follows thirty
    assert leftovers(tmp_path) == []


def test_a_redirection_to_a_login_page_is_refused(server, tmp_path: Path) -> None:
    file = RemoteFile("file.bin", (f"{server.url}/a",), None)
    server.redirects["/a"] = "/login"
    server.files["/login"] = b"<!DOCTYPE html><title>Log in</title>"
    with pytest.raises(InputError, match="a web page"):
        get(file, tmp_path)
    assert leftovers(tmp_path) == []


def test_no_space_for_a_download(server, tmp_path: Path) -> None:
    """One sentence, no file; what came is gone on with when there is space."""
    file = remote(server)
    with mounted(tmp_path / "disk", kib=2048) as disk:
        disk.fill(leave=600)
        with pytest.raises(InputError) as caught:
            get(file, disk.folder)
        target = disk.folder / "set" / "file.bin"
        assert str(caught.value) == (
            f"{target} cannot be written: No space left on device; free some space, "
            "then start again."
        )
        assert not target.exists()
        disk.free()
        assert get(file, disk.folder).path.read_bytes() == CONTENT
        assert leftovers(disk.folder) == ["file.bin"]
        start = int(server.log[-1][1].removeprefix("bytes=").removesuffix("-"))
        assert 0 < start <= 600 * 1024


def test_a_read_only_cache(server, tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", kib=64) as disk:
        disk.make("ro")
        with pytest.raises(InputError, match=r"file\.bin cannot be written: Read-only file system"):
            get(remote(server), disk.folder)
    assert server.log == []


def test_parts_from_another_url_are_removed(server, tmp_path: Path) -> None:
    remote(server)
    server.files["/mirror/file.bin"] = CONTENT
    server.faults["/mirror/file.bin"] = ["cut"]
    urls = (f"{server.url}/mirror/file.bin", f"{server.url}/file.bin")
    get(RemoteFile("file.bin", urls, SUM), tmp_path, attempts=1)
    assert [path for path, _ in server.log] == ["/mirror/file.bin", "/file.bin"]
    assert leftovers(tmp_path) == ["file.bin"]


def test_a_kill_between_two_versions_glues_nothing(
    server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is of the old one goes before the validator of the new one comes."""
    file = remote(server, checksum=None)
    server.faults["/file.bin"] = ["cut"]
    with pytest.raises(InputError):
        get(file, tmp_path, attempts=1)
    server.files["/file.bin"] = CONTENT[::-1]

    class Killed(BaseException):
        pass

    def kill(*args: object, **options: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tqdm, "tqdm", kill)  # made after the validator, before the first byte
        with pytest.raises(Killed):
            get(file, tmp_path, attempts=1)
    assert get(file, tmp_path).path.read_bytes() == CONTENT[::-1]


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
