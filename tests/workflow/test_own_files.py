"""Results follow what is in a user's files, not their times: dry runs of a finished run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import working_copy
from finished_run import FinishedRun, rules

LONG_AGO = 1.5e9
TRAINED = {"batch_size": 32, "prior_learning_ratio": 5}
CONFIG = {
    "run": "own",
    "device": "cpu",
    "trials": 2,
    "n_components": 8,
    "mirror": "mirror",
    "datasets": {
        "cells": {"path": "cells.h5ad", "label_key": "type", **TRAINED},
        "linked": {"path": "links/cells.h5ad", "label_key": "type", **TRAINED},
        "home": {"path": "~/cells.h5ad", "label_key": "type", **TRAINED},
        "images": {"kind": "images", "path": "images.npz", "batch_size": 32},
        "folder": {"source": "split_seq", "path": "supplied", **TRAINED},
        "named": {"source": "split_seq", "matrix": "m.npz", "cells": "c.csv", **TRAINED},
        "mirrored": {"source": "split_seq", **TRAINED},
    },
    "experiments": {
        "cells": {"methods": ["vmm"], "baselines": ["pca"]},
        "image_clustering": {"methods": ["vmm"]},
    },
}
FILES = {
    "cells": "cells.h5ad",
    "linked": "kept/cells.h5ad",
    "home": "home/cells.h5ad",
    "images": "images.npz",
    "folder": "supplied/cells_meta.tsv.gz",
    "named": "c.csv",
    "mirrored": "mirror/split_seq/matrix.mtx",
}
"""A file of each data set."""
OTHERS = ["m.npz", "supplied/counts_small.npz", "mirror/split_seq/cells.csv"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> FinishedRun:
    folder = tmp_path_factory.mktemp("own") / "project"
    with pytest.MonkeyPatch.context() as environment:
        environment.setitem(working_copy.ENVIRONMENT, "HOME", str(folder / "home"))
        yield FinishedRun(folder, CONFIG, prepare=_supply)


def _supply(folder: Path) -> None:
    for name in [*FILES.values(), *OTHERS]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "links").symlink_to("kept")


def again(finished: FinishedRun) -> set[str]:
    """Return the data sets that a dry run would prepare again, and check that all else follows."""
    done = finished.dry_run()
    prepared = set(_wildcards(done.text, "prepare", "dataset"))
    trained = set(_wildcards(done.text, "train_cells", "dataset"))
    trained |= set(_wildcards(done.text, "train_images", "dataset"))
    assert trained == prepared
    assert bool(prepared) == bool(rules(done))
    return prepared


def _wildcards(text: str, rule: str, name: str) -> list[str]:
    blocks = text.split("\nrule ")[1:]
    lines = [b for b in blocks if b.startswith(f"{rule}:")]
    return [b.partition(f"{name}=")[2].split()[0].rstrip(",") for b in lines]


@pytest.fixture
def restored(finished) -> FinishedRun:
    """Return the run, and put its files back afterwards."""
    before = {name: (finished.folder / name).read_bytes() for name in FILES.values()}
    yield finished
    for name, content in before.items():
        (finished.folder / name).unlink(missing_ok=True)
        (finished.folder / name).write_bytes(content)


def _older(path: Path) -> None:
    """As mv, cp -p, rsync -a and tar leave it."""
    other = path.with_name("other")
    other.write_text("another content")
    os.utime(other, (LONG_AGO, LONG_AGO))
    other.replace(path)


def _of_the_same_time_and_size(path: Path) -> None:
    stat = path.stat()
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _a_link(path: Path) -> None:
    _older(path)
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("change", [_older, _of_the_same_time_and_size, _a_link])
def test_another_content_is_noticed(restored, change: Callable[[Path], None]):
    """In each kind of file that a configuration can name: all of these data sets run again."""
    for name in FILES.values():
        change(restored.folder / name)
    assert again(restored) == set(FILES)


def test_a_data_set_does_not_follow_the_files_of_another(restored):
    _older(restored.folder / FILES["images"])
    assert again(restored) == {"images"}


def test_the_same_content_runs_nothing_again(restored):
    """Touched, copied anew, a link in its place, or one that leads elsewhere."""
    for number, name in enumerate(FILES.values()):
        path = restored.folder / name
        copy = shutil.copy(path, path.with_name(f"copy of {path.name}"))
        if number % 2:
            path.unlink()
            path.symlink_to(copy)
        else:
            Path(copy).replace(path)
    (restored.folder / "supplied" / "notes.txt").write_text("no file of the data set")
    assert again(restored) == set()


def test_touch_takes_what_is_there_for_finished(finished):
    """`snakemake --touch`, which asks for that."""
    _older(finished.folder / FILES["cells"])
    finished.touch_results()
    assert again(finished) == set()
