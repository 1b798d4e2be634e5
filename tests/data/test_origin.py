"""Which files on this machine a data set is made from."""

from __future__ import annotations

from dataclasses import replace

from vmm.data.origin import find, local_files
from vmm.data.source import Checksum, RemoteFile
from vmm.data.sources.records import SOURCES


def test_the_users_own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.h5ad").write_text("x")
    config = {"kind": "cells", "path": "~/my.h5ad"}
    assert local_files(find("m", config), config, None) == [tmp_path / "my.h5ad"]
    gone = {"kind": "cells", "path": "gone.h5ad"}
    assert local_files(find("m", gone), gone, None) == []


def test_of_a_folder_only_what_is_read(tmp_path):
    for name in ("matrix.mtx", "counts_small.npz", "cells.tsv", "notes.txt"):
        (tmp_path / name).write_text(name)
    config = {"path": str(tmp_path)}
    files = local_files(SOURCES["split_seq"], config, None)
    assert files == [tmp_path / "counts_small.npz", tmp_path / "cells.tsv"]
    named = config | {"matrix": str(tmp_path / "matrix.mtx")}
    files = local_files(SOURCES["split_seq"], named, None)
    assert files == [tmp_path / "matrix.mtx", tmp_path / "cells.tsv"]


def test_of_a_mirror_what_has_no_checksum(tmp_path):
    """Another content of the others is refused."""
    summed = RemoteFile("summed.gz", ("http://x/summed.gz",), Checksum("md5", "0" * 32))
    free = RemoteFile("free.gz", ("http://x/free.gz",), mirror_names=("libre.gz",))
    source = replace(SOURCES["mnist"], name="set", files=(summed, free))
    (tmp_path / "set").mkdir()
    for name in ("summed.gz", "libre.gz"):
        (tmp_path / "set" / name).write_text(name)
    assert local_files(source, {}, str(tmp_path)) == [tmp_path / "set" / "libre.gz"]
    assert local_files(source, {}, "http://example.org/mirror") == []
    assert local_files(source, {}, None) == []
