"""Files appear whole or not at all; the system's refusals and damage are told in a sentence."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from disk import mounted

from vmm import io
from vmm.benchmark.metrics.rows import rows_from_scores, write_rows
from vmm.data import ImageData
from vmm.errors import InputError
from vmm.paper.tables.write import write_text
from vmm.plots.style import new_figure, save
from vmm.tensor_files import read_tensors, write_tensors

RNG = np.random.default_rng(0)
ARRAYS = {
    "embedding": RNG.normal(size=(40, 3)).astype(np.float32),
    "cluster_probs": RNG.random((40, 5)),
}
TENSORS = {
    "model": {name: torch.arange(300.0) for name in ("a.weight", "b.weight")},
    "history": [{"epoch": 1, "train_elbo": -1.5}],
}
JOB = {"dataset": "d", "model": "scVI", "prior": "VMM", "setting": "chosen", "trial": 0}
ROWS = rows_from_scores(JOB, {"Accuracy": 1 / 3, "NMI (merged)": 0.5})


def write_arrays(path: Path, savez=np.savez_compressed) -> None:
    with io.atomic(path) as temporary:
        savez(temporary, **ARRAYS)


def write_images(path: Path) -> None:
    x = RNG.integers(0, 255, (400, 16)).astype(np.uint8)
    ImageData("d", x, np.arange(400) % 2, ["a", "b"], (4, 4)).save(path)


def draw(path: Path) -> None:
    figure = new_figure(2, 2)
    figure.add_subplot().imshow(RNG.random((60, 60)))
    save(figure, path.with_suffix(""))


# ------------------------------------------------------------------------------- whole or not


def test_what_raises_leaves_nothing(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with pytest.raises(RuntimeError), io.atomic(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        raise RuntimeError
    assert list(path.parent.iterdir()) == []


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), io.atomic(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with io.atomic(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_leftovers_of_one_file_or_of_all(tmp_path):
    """Neither whole files nor those of other names go."""
    with io.atomic(tmp_path / "a.csv") as temporary:
        leftover = tmp_path / temporary.name  # as a killed process leaves it
    stay = ["a.csv", "a-12345678.csv", ".a-12345678.npz", ".ab-12345678.csv", ".hidden"]
    for name in [leftover.name, *stay]:
        (tmp_path / name).touch()
    io.remove_leftovers(tmp_path, "a.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
    io.remove_leftovers(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".hidden", "a-12345678.csv", "a.csv"]


def test_leftovers_are_not_taken_for_results(tmp_path):
    with io.atomic(tmp_path / "b.csv"):
        (tmp_path / "a.csv").touch()
        assert len(list(tmp_path.glob("*.csv"))) == 2
        assert io.whole(tmp_path.glob("*.csv")) == [tmp_path / "a.csv"]


def test_same_tensors_same_bytes(tmp_path):
    """Whatever the name; `torch.save` puts the name of its file into it."""
    write_tensors(tmp_path / "a.pt", TENSORS)
    write_tensors(tmp_path / "b.pt", TENSORS)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


# ---------------------------------------------------------------------- the system will not write

WRITERS = {
    "a.json": lambda path: io.write_json(path, list(range(2000))),
    "a.pt": lambda path: write_tensors(path, {"a": torch.zeros(9000)}),
    "a.npz": lambda path: write_arrays(path, savez=lambda p, **_: np.savez(p, RNG.random(9000))),
    "b.npz": lambda path: write_arrays(
        path, savez=lambda p, **_: np.savez_compressed(p, RNG.random(9000))
    ),
    "c.npz": write_images,
    "a.csv": lambda path: write_rows(
        rows_from_scores(JOB, {f"metric {i}": i / 7 for i in range(400)}), path
    ),
    "a.html": lambda path: write_text("text" * 3000, path.with_suffix(""), ".html"),
    "a.pdf": draw,
}


@pytest.mark.parametrize("name", WRITERS)
def test_no_space(name, tmp_path):
    """One sentence that names the file, no file of any name; with space it is written."""
    with mounted(tmp_path / "disk", kib=256) as disk:
        path = disk.folder / "results" / name
        path.parent.mkdir()
        for leave in (0, 4):
            disk.fill(leave)
            with pytest.raises(InputError) as caught:
                WRITERS[name](path)
            assert str(caught.value) == (
                f"{path} cannot be written: No space left on device; free some space, "
                "then start again."
            )
            assert disk.files() == []
        disk.free()
        WRITERS[name](path)
        assert f"results/{name}" in disk.files()
        assert not [file for file in disk.files() if "/." in file]


def test_no_space_keeps_the_old_file(tmp_path):
    with mounted(tmp_path / "disk", kib=256) as disk:
        path = disk.folder / "a.json"
        io.write_json(path, {"status": "old"})
        disk.fill()
        with pytest.raises(InputError, match="No space left"):
            io.write_json(path, list(range(2000)))
        assert io.read_json(path) == {"status": "old"}


def test_read_only(tmp_path):
    with mounted(tmp_path / "disk", kib=64) as disk:
        disk.make("ro")
        for path in (disk.folder / "a.json", disk.folder / "new" / "a.json"):
            with pytest.raises(InputError) as caught:
                io.write_json(path, {})
            assert str(caught.value) == (
                f"{path} cannot be written: Read-only file system; make its folder writable or "
                "use another, then start again."
            )


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(IsADirectoryError), io.atomic(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b").mkdir()
    with pytest.raises(ZeroDivisionError), io.atomic(tmp_path / "c"):
        raise ZeroDivisionError


# ------------------------------------------------------------------------------------- damage

READERS = {
    "latent.npz": (write_arrays, io.read_arrays),
    "data.npz": (lambda path: write_arrays(path, np.savez), io.read_arrays),
    "weights.pt": (lambda path: write_tensors(path, TENSORS), read_tensors),
    "run.json": (lambda path: io.write_json(path, {"spec": JOB, "status": "ok"}), io.read_json),
    "rows.csv": (lambda path: write_rows(ROWS, path), io.read_table),
}
IN_ZIP = [name for name in READERS if name.endswith((".npz", ".pt"))]


def same(value, other) -> bool:
    """Whether nested values are equal, arrays and tensors to the bit."""
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(value[k], other[k]) for k in value)
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.dtype == other.dtype and bool((value == other).all())
    return value == other


def check_damage(path: Path, content: bytes, read, whole) -> bool:
    """Write `content`; reading gives the whole value or one sentence. Return whether it did."""
    path.write_bytes(content)
    try:
        value = read(path)
    except InputError as error:
        assert re.fullmatch(
            rf"{re.escape(str(path))} is damaged \(.+\); remove it and start again, "
            r"then it is made anew\.",
            str(error),
        )
        return False
    assert same(value, whole)
    return True


@pytest.mark.parametrize("name", READERS)
def test_a_truncated_file(name, tmp_path):
    """Cut at any byte, it is never used."""
    write, read = READERS[name]
    path = tmp_path / name
    write(path)
    whole, content = read(path), path.read_bytes()
    step = max(1, len(content) // 200)
    if name.endswith(".csv"):  # a table cut between two lines is a table: see test_rows.py
        cuts = [n for n in range(len(content)) if content[:n][-1:] != b"\n"]
    else:
        cuts = [*range(0, len(content), step), len(content) - 1]
        cuts = [n for n in cuts if not (name == "run.json" and n == len(content) - 1)]  # newline
    for n in cuts:
        assert not check_damage(path, content[:n], read, whole), n


@pytest.mark.parametrize("name", IN_ZIP)
def test_a_flipped_bit(name, tmp_path):
    """Anywhere in an archive, it is found or changes nothing; torch and numpy do not see to it."""
    write, read = READERS[name]
    path = tmp_path / name
    write(path)
    whole, content = read(path), path.read_bytes()
    found = 0
    places = np.random.default_rng(1).choice(8 * len(content), 400, replace=False)
    for place in places.tolist():
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        found += not check_damage(path, bytes(flipped), read, whole)
    assert found > 200


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("content", [b"", b"\0" * 500, b"<html>no</html>\n", b"\xff\xfe\x00a\n"])
def test_something_else(name, content, tmp_path):
    """An empty file, zeros as a power cut leaves them, an error page, no text."""
    if name == "rows.csv" and content.startswith(b"<"):
        pytest.skip("a table of one column: validated as rows")
    assert not check_damage(tmp_path / name, content, READERS[name][1], None)


def test_what_must_be_in_it(tmp_path):
    write_arrays(tmp_path / "a.npz")
    with pytest.raises(InputError, match=r"a\.npz is damaged \(it lacks 'train'\)"):
        io.read_arrays(tmp_path / "a.npz", "train")
    (tmp_path / "a.json").write_text(json.dumps({"status": "ok"}))
    with pytest.raises(InputError, match=r"a\.json is damaged \(it lacks 'spec'\)"):
        io.read_json(tmp_path / "a.json", "status", "spec")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"a\.json is damaged"):
        io.read_json(tmp_path / "a.json", "status")


def test_an_absent_file(tmp_path):
    for name, (_, read) in READERS.items():
        with pytest.raises(InputError, match=rf"{re.escape(name)} does not exist\.$"):
            read(tmp_path / name)


def test_a_table_reads_as_pandas_reads_it(tmp_path):
    path = tmp_path / "a.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([["s", "max_rss"], ["1.5", "-"]])
    table = io.read_table(path, sep="\t", na_values="-")
    assert table["s"].tolist() == [1.5] and table["max_rss"].isna().all()


def test_names_in_a_table_stay_as_they_are_written(tmp_path):
    names = ["007", "1e5", "1.0", "nan", "None", "NA", "", "True"]
    lines = [f'"{name}",{value}' for value, name in enumerate(names)]
    (tmp_path / "a.csv").write_text("\n".join(["name,value", *lines]) + "\n")
    table = io.read_table(tmp_path / "a.csv", ["name"])
    assert table["name"].tolist() == names and table["value"].sum() == 28
