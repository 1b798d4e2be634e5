from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import outsider
import pytest

from vmm.data.raw import RawCells, RawImages
from vmm.data.source import Checksum, RemoteFile, Source
from vmm.data.sources.records import SOURCES
from vmm.testing.sources import SourceContract

HERE = Path(__file__).resolve()


class TestBuiltIn(SourceContract):
    mirror = HERE.parents[4] / "shared" / "data" / "mirror"

    @pytest.fixture(params=SOURCES.values(), ids=SOURCES.keys())
    def source(self, request: pytest.FixtureRequest) -> Source:
        return request.param


class TestOutsiders(SourceContract):
    @pytest.fixture
    def source(self) -> Source:
        return outsider.RECORD


FILE = RemoteFile("a.gz", ("https://example.org/a.gz",), Checksum("md5", "0" * 32))
INCOMPLETE: dict[str, dict] = {
    "label": {"label": " "},
    "licence": {"licence": ""},
    "year": {"citation": "Somebody"},
    "homepage": {"homepage": "example.org"},
    "kind": {"kind": "texts"},
    "no labels": {"label_key": None},
    "one column for both": {"batch_key": "type"},
    "a name that is no file": {"name": "a/b"},
    "two owners": {"files": (FILE,), "user_supplied": True},
}
BAD_FILES = {
    "short sum": replace(FILE, checksum=Checksum("sha256", "0" * 32)),
    "no hexadecimal": replace(FILE, checksum=Checksum("md5", "x" * 32)),
    "no address": replace(FILE, urls=()),
    "a folder": replace(FILE, name="a/b.gz"),
    "two of a name": replace(FILE, mirror_names=("a.gz",)),
}


@pytest.mark.parametrize("change", INCOMPLETE.values(), ids=INCOMPLETE.keys())
def test_incomplete_records_fail(change: dict) -> None:
    with pytest.raises(AssertionError):
        SourceContract().test_the_record_is_complete(replace(outsider.RECORD, **change))


@pytest.mark.parametrize("file", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_bad_files_fail(file: RemoteFile) -> None:
    check = SourceContract().test_files_can_be_told_apart_and_verified
    check(replace(outsider.RECORD, files=(FILE,)))
    with pytest.raises(AssertionError):
        check(replace(outsider.RECORD, files=(file,)))


def bad_cells(change: str) -> RawCells:
    raw = outsider.read({}, {})
    if change == "fraction":
        raw.counts = raw.counts + 0.5
    elif change == "negative":
        raw.counts = raw.counts - 9
    elif change == "a gene more":
        raw.genes = [*raw.genes, "gene12"]
    else:
        raw.obs = raw.obs.drop(columns=change)
    return raw


@pytest.mark.parametrize("change", ["fraction", "negative", "a gene more", "donor", "type"])
def test_bad_cells_fail(change: str) -> None:
    with pytest.raises(AssertionError):
        SourceContract().test_what_is_read_is_raw_data(outsider.RECORD, bad_cells(change))


GOOD_IMAGES = {
    "x": np.zeros((6, 4), np.uint8), "labels": np.arange(6) % 2, "label_names": ["a", "b"],
    "image_shape": (2, 2), "n_train": 4,
}  # fmt: skip
BAD_IMAGES: dict[str, dict] = {
    "shape": {"image_shape": (3, 2)},
    "range": {"x": np.full((6, 4), 2, np.float32)},
    "type": {"x": np.zeros((6, 4))},
    "a class without a name": {"label_names": ["a"]},
    "nothing to validate on": {"n_train": 6},
}


@pytest.mark.parametrize("change", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_images_fail(change: dict) -> None:
    check = SourceContract().test_what_is_read_is_raw_data
    images = replace(outsider.RECORD, kind="images")
    check(images, RawImages(**GOOD_IMAGES))
    with pytest.raises(AssertionError):
        check(images, RawImages(**GOOD_IMAGES | change))


def test_the_other_kind_fails() -> None:
    images = replace(outsider.RECORD, kind="images")
    with pytest.raises(AssertionError):
        SourceContract().test_the_reader_says_what_it_returns(images)
    with pytest.raises(AssertionError):
        SourceContract().test_what_is_read_is_raw_data(images, outsider.read({}, {}))
