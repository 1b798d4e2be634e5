"""What every data set keeps: a complete record, and a reader that gives what the record says."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import get_type_hints

import numpy as np
import pytest

from vmm.data.checks import as_csr
from vmm.data.containers import load
from vmm.data.preparation import obtain, prepare
from vmm.data.raw import RawCells, RawImages
from vmm.data.source import BUILDERS, Source
from vmm.errors import InputError
from vmm.lazy import resolve

RAW = {"cells": RawCells, "images": RawImages}
"""What a reader returns, by the kind of its data set."""


class SourceContract:
    """Tests of a record and its reader: inherit them, and give the record as a fixture.

    Files are taken from `mirror`; a data set whose files are not there is skipped, not downloaded.

    Examples
    --------
    >>> class TestMine(SourceContract):
    ...     mirror = Path("my_mirror")  # has my_mirror/<name of the record>/<name of a file>
    ...
    ...     @pytest.fixture
    ...     def source(self):
    ...         return MY_RECORD
    """

    mirror: Path | None = None

    @pytest.fixture
    def source(self) -> Source:
        """Return the record; to be overridden."""
        raise NotImplementedError("define the fixture `source`: it returns the record to test")

    @pytest.fixture
    def place(self, source: Source, tmp_path: Path) -> str | None:
        """Return the mirror, or skip where it has not all files of the data set."""
        if not source.files and not source.user_supplied:
            return None
        if self.mirror is None or not (self.mirror / source.name).is_dir():
            pytest.skip(f"the files of {source.name} are in no mirror here")
        try:
            obtain(source, {}, str(self.mirror), tmp_path)
        except InputError as error:
            pytest.skip(str(error))
        return str(self.mirror)

    @pytest.fixture
    def raw(self, source: Source, place: str | None, tmp_path: Path) -> RawCells | RawImages:
        """Return what the reader gives."""
        config = {"path": f"{place}/{source.name}"} if source.user_supplied else {}
        return resolve(source.reader)(obtain(source, config, place, tmp_path), config)

    def test_the_record_is_complete(self, source: Source) -> None:
        """Names that can be files and words that can be printed; cells say where types stand."""
        assert re.fullmatch(r"[A-Za-z0-9_]+", source.name)
        assert source.kind in BUILDERS
        assert source.label.strip() and source.title.strip() and source.licence.strip()
        assert re.search(r"\((19|20)\d\d\)", source.citation), "the citation has no year"
        assert source.homepage.startswith(("http://", "https://"))
        if source.kind == "cells":
            assert source.label_key and source.batch_key != source.label_key
        else:
            assert source.batch_key is source.label_key is source.n_top_genes is None
        assert source.n_top_genes is None or source.n_top_genes >= 2
        assert not (source.files and source.user_supplied)

    def test_files_can_be_told_apart_and_verified(self, source: Source) -> None:
        """No two share a name, in the cache or in a mirror; checksums are in hexadecimal."""
        names = [name for file in source.files for name in (file.name, *file.mirror_names)]
        assert len(set(names)) == len(names)
        for file in source.files:
            assert Path(file.name).name == file.name
            assert file.urls
            assert all(url.startswith(("http://", "https://")) for url in file.urls)
            if file.checksum is not None:
                n_digits = 2 * hashlib.new(file.checksum.algorithm).digest_size
                assert re.fullmatch(rf"[0-9a-f]{{{n_digits}}}", file.checksum.digest)

    def test_the_reader_says_what_it_returns(self, source: Source) -> None:
        """By its annotation, which holds for data that are not on this machine too."""
        assert get_type_hints(resolve(source.reader)).get("return") is RAW[source.kind]

    def test_what_is_read_is_raw_data(self, source: Source, raw: RawCells | RawImages) -> None:
        """Counts with their columns, or pixels with their classes."""
        if isinstance(raw, RawCells):
            assert source.kind == "cells"
            _check_cells(raw, [key for key in (source.batch_key, source.label_key) if key])
        else:
            assert isinstance(raw, RawImages) and source.kind == "images"
            _check_images(raw)

    def test_it_is_prepared_twice_alike(
        self, source: Source, place: str | None, tmp_path: Path
    ) -> None:
        """To the bit, and the file can be read again."""
        written = []
        for part in ("first", "second"):
            npz, text = tmp_path / part / "data.npz", tmp_path / part / "data.json"
            prepare(source.name, {}, place, tmp_path, npz, text, sources={source.name: source})
            written.append((npz.read_bytes(), text.read_bytes()))
        assert written[0] == written[1]
        data = load(npz)
        assert data.kind == source.kind and len(data) > 1 and data.n_types > 1


def _check_cells(raw: RawCells, keys: list[str]) -> None:
    """Assert counts of as many cells and genes as have names, and the columns named `keys`."""
    counts = as_csr(raw.counts, raw.where)
    assert counts.shape == (len(raw.obs), len(raw.genes))
    assert np.isfinite(counts.data).all() and (counts.data >= 0).all()
    assert (counts.data == np.rint(counts.data)).all(), "counts must be whole numbers"
    assert set(keys) <= set(raw.obs.columns)


def _check_images(raw: RawImages) -> None:
    """Assert N × D pixels in their range, with a class each."""
    assert raw.x.shape == (len(raw.labels), np.prod(raw.image_shape))
    assert raw.x.dtype == np.uint8 or (raw.x.dtype == np.float32 and np.abs(raw.x).max() <= 1)
    assert raw.labels.dtype == np.int64
    assert set(np.unique(raw.labels)) <= set(range(len(raw.label_names)))
    assert raw.n_train is None or 0 < raw.n_train < len(raw.x)
