from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vmm.data import CellData, ImageData, load
from vmm.data.containers import content_sha256
from vmm.data.covariates import Covariates
from vmm.errors import InputError


def images(**changes) -> ImageData:
    x = np.arange(24, dtype=np.uint8).reshape(4, 6) * np.uint8(11)
    data = ImageData("im", x, np.array([0, 1, 1, 0]), ["a", "b"], (2, 3), np.array([3]))
    return replace(data, **changes)


def test_cells_survive_the_disk(cells: CellData, tmp_path: Path) -> None:
    cells.save(tmp_path / "cells.npz")
    again = load(tmp_path / "cells.npz")
    assert isinstance(again, CellData)
    assert again.counts.toarray().tolist() == [[1, 0, 2], [0, 3, 0], [4, 0, 0], [0, 5, 6]]
    assert again.counts.dtype == np.int32
    assert again.batch_names == ["first", "second"] and again.label_names == ["B", "T"]
    assert again.batch.tolist() == [0, 1, 0, 1] and again.labels.tolist() == [1, 0, 0, 1]
    assert again.genes.tolist() == ["ACTB", "CD3E", "MS4A1"]
    assert again.cells.tolist() == ["c0", "c1", "c2", "c3"]
    assert (again.n_cells, again.n_genes, again.n_batches, again.n_types) == (4, 3, 2, 2)
    assert content_sha256(again) == content_sha256(cells)


def test_counts_may_stay_in_their_file(cells: CellData, tmp_path: Path) -> None:
    cells.save(tmp_path / "cells.npz")
    whole, left = (load(tmp_path / "cells.npz", mapped=mapped) for mapped in (False, True))
    assert isinstance(left, CellData) and isinstance(whole, CellData)
    for part in ("data", "indices"):
        assert not getattr(left.counts, part).flags.writeable  # which are views of the file
        assert getattr(whole.counts, part).flags.writeable
    assert (left.counts != cells.counts).nnz == 0
    assert content_sha256(left) == content_sha256(cells)
    arrays = cells.arrays() | {"kind": np.asarray("cells"), "name": np.asarray("c")}
    np.savez_compressed(tmp_path / "small.npz", **arrays)
    small = load(tmp_path / "small.npz", mapped=True)
    assert isinstance(small, CellData) and (small.counts != cells.counts).nnz == 0


def test_covariates_survive_the_disk(cells: CellData, tmp_path: Path) -> None:
    """Whatever their names; without any the file has nothing of them."""
    assert not cells.covariates and len(cells.arrays()) == 10
    known = Covariates(
        {
            "a/b": (np.array([0, 1, 1, 0]), ["x", "y"]),
            "file": (np.array([2, 0, 1, 0]), ["p", "q", "r"]),
        },
        {"age": np.array([0.5, 1, 2, 3], dtype=np.float32)},
        np.array([1, 2, 3, 4], dtype=np.float32),
    )
    informed = replace(cells, covariates=known)
    informed.save(tmp_path / "cells.npz")
    again = load(tmp_path / "cells.npz").covariates
    assert {key: (codes.tolist(), names) for key, (codes, names) in again.categorical.items()} == {
        "a/b": ([0, 1, 1, 0], ["x", "y"]),
        "file": ([2, 0, 1, 0], ["p", "q", "r"]),
    }
    assert again.n_categories == (2, 3) and again
    assert {key: values.tolist() for key, values in again.continuous.items()} == {
        "age": [0.5, 1, 2, 3]
    }
    assert again.size_factor.tolist() == [1, 2, 3, 4]
    assert content_sha256(informed) != content_sha256(cells)
    for part in ({"categorical": known.categorical}, {"size_factor": known.size_factor}):
        arrays = Covariates(**part).arrays()
        assert Covariates.from_arrays(arrays).arrays().keys() == arrays.keys()
    obs = informed.to_anndata().obs
    assert obs["covariate_file"].tolist() == ["r", "p", "q", "p"]
    assert obs["covariate_age"].tolist() == [0.5, 1, 2, 3]
    assert obs["size_factor"].tolist() == [1, 2, 3, 4]


def test_covariates_of_some_cells() -> None:
    """Categories that they do not have are gone."""
    known = Covariates({"sex": (np.array([0, 1, 2, 0]), ["f", "m", "x"])}, {"age": np.arange(4.0)})
    some = known.rows(np.array([True, False, True, False]))
    codes, names = some.categorical["sex"]
    assert (codes.tolist(), names) == ([0, 1], ["f", "x"])
    assert some.continuous["age"].tolist() == [0, 2] and some.size_factor is None
    assert some.described() == {"sex": {"f": 1, "x": 1}, "age": {"least": 0.0, "largest": 2.0}}


def test_images_survive_the_disk(tmp_path: Path) -> None:
    for data in (images(), images(valid=None)):
        data.save(tmp_path / "images.npz")
        again = load(tmp_path / "images.npz")
        assert isinstance(again, ImageData)
        assert (again.x == data.x).all() and again.x.dtype == np.uint8
        assert again.image_shape == (2, 3) and again.label_names == ["a", "b"]
        assert (None if again.valid is None else again.valid.tolist()) == (
            None if data.valid is None else [3]
        )


def test_scaled_pixels_fill_minus_one_to_one() -> None:
    bytes_ = images(x=np.array([[0, 51, 102, 153, 204, 255]] * 4, dtype=np.uint8)).scaled()
    np.testing.assert_allclose(bytes_[0], [-1, -0.6, -0.2, 0.2, 0.6, 1], atol=1e-6)
    assert bytes_.dtype == np.float32 and bytes_.min() == -1 and bytes_.max() == 1
    floats = np.full((4, 6), 0.25, dtype=np.float32)
    assert (images(x=floats).scaled() == 0.25).all()


def test_content_checksum_sees_every_value_and_no_layout(cells: CellData) -> None:
    before = content_sha256(cells)
    wide = replace(cells, genes=cells.genes.astype("U40"))
    assert content_sha256(wide) == before
    counts = cells.counts.copy()
    counts.data[0] += 1
    changed = [
        replace(cells, counts=counts),
        replace(cells, labels=cells.labels[::-1].copy() * 0),
        replace(cells, genes=np.array(["ACTB", "CD3E", "MS4A2"])),
        replace(cells, batch_names=["first", "third"]),
    ]
    assert len({content_sha256(data) for data in changed} | {before}) == 5


def test_anndata_has_categories_and_counts(cells: CellData) -> None:
    adata = cells.to_anndata()
    assert adata.shape == (4, 3)
    assert adata.obs["batch"].tolist() == ["first", "second", "first", "second"]
    assert adata.obs["cell_type"].tolist() == ["T", "B", "B", "T"]
    assert adata.obs["cell_type"].cat.categories.tolist() == ["B", "T"]
    assert adata.var_names.tolist() == ["ACTB", "CD3E", "MS4A1"]
    assert (adata.layers["counts"] != adata.X).nnz == 0 and adata.X.dtype == np.float32
    assert adata.layers["counts"].sum() == 21


def test_parts_must_fit_together(cells: CellData) -> None:
    with pytest.raises(ValueError, match="counts are 4 × 3"):
        replace(cells, labels=np.array([0, 1]))
    with pytest.raises(ValueError, match="4 labels"):
        images(image_shape=(3, 3))


def test_files_that_are_not_prepared_data_are_refused(cells: CellData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        load(tmp_path / "absent.npz")
    other = tmp_path / "other.npz"
    np.savez(other, x=np.zeros(3))
    with pytest.raises(InputError, match="not a prepared data set"):
        load(other)
    np.savez(other, kind=np.array([{"run": "me"}], dtype=object))
    with pytest.raises(InputError, match="allow_pickle=False"):
        load(other)
    cells.save(other)
    other.write_bytes(other.read_bytes()[:500])
    with pytest.raises(InputError, match="not a prepared data set"):
        load(other)
    with pytest.raises(InputError, match=r"must end in \.npz"):
        cells.save(tmp_path / "cells.h5ad")
    assert list(tmp_path.iterdir()) == [other]


def test_reading_imports_neither_pandas_nor_anything_heavy(cells: CellData, tmp_path: Path) -> None:
    cells.save(tmp_path / "cells.npz")
    code = (
        "import sys, vmm.data; "
        f"assert len(vmm.data.load({str(tmp_path / 'cells.npz')!r})) == 4; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"pandas", "h5py", "anndata", "scanpy", "sklearn", "torch", "scvi", "matplotlib"}
    assert not heavy & set(result.stdout.split())


def test_data_are_described_in_one_line(cells: CellData) -> None:
    """Logs and progress show it: a whole object on the page would bury what matters."""
    assert str(cells) == "4 cells × 3 genes, 2 batches, 2 cell types"
    assert str(images()) == "4 images of 2 classes"
