from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from vmm.data import ImageData, load, prepare
from vmm.data.containers import content_sha256
from vmm.data.source import RemoteFile
from vmm.data.sources.records import SOURCES
from vmm.errors import InputError


def run(tmp_path: Path, name: str, config: dict, mirror=None, **more):
    """Prepare a data set; return it as read back, and its description."""
    npz, description = tmp_path / "out" / f"{name}.npz", tmp_path / "out" / f"{name}.json"
    prepare(name, config, mirror, tmp_path / "cache", npz, description, **more)
    return load(npz), json.loads(description.read_text())


def atlas(n_cells: int = 240, n_genes: int = 300) -> anndata.AnnData:
    """Make a small file of the lung atlas's structure: log-normalised X, counts in a layer."""
    random = np.random.default_rng(3)
    kind = np.arange(n_cells) % 3
    rates = np.exp(random.normal(-0.5, 1, (3, n_genes)))[kind]
    counts = random.poisson(rates).astype(np.float32)
    counts[1::2] *= np.where(random.random(counts[1::2].shape) < 0.1, 0.9, 1)  # "10x" cells
    obs = pd.DataFrame(
        {
            "batch": pd.Categorical(np.where(np.arange(n_cells) < 150, "A1", "B2")),
            "cell_type": pd.Categorical(np.array(["Type 1", "Type 2", "Ciliated"])[kind]),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    var = pd.DataFrame(index=[f"G{i}" for i in range(n_genes)])
    adata = anndata.AnnData(sp.csr_matrix(np.log1p(counts)), obs=obs, var=var)
    adata.layers["counts"] = sp.csr_matrix(counts)
    return adata


def test_cells_that_nobody_labelled(tmp_path: Path) -> None:
    """No column of labels is asked for; the description says what that means."""
    path = tmp_path / "mine.h5ad"
    adata = atlas()
    adata.X = np.rint(adata.layers["counts"])
    adata.write_h5ad(path)
    config = {"kind": "cells", "path": str(path), "batch_key": "batch"}
    data, text = run(tmp_path, "mine", config)
    assert np.array_equal(data.labels, np.full(240, -1)) and data.label_names == []
    assert (text["n_types"], text["n_labelled"]) == (0, 0)
    assert "No cell has a label, so nothing is compared with cell types." in text["notes"]


def test_lung_atlas_from_a_mirror(tmp_path: Path) -> None:
    folder = tmp_path / "mirror" / "lung_atlas"
    folder.mkdir(parents=True)
    adata = atlas()
    adata.write_h5ad(folder / "Lung_atlas_public.h5ad")
    data, text = run(
        tmp_path, "lung_atlas", {"n_top_genes": 100, "layer": None}, mirror=tmp_path / "mirror"
    )
    assert data.counts.shape == (240, 100)
    columns = [adata.var_names.get_loc(gene) for gene in data.genes]
    whole = np.rint(adata.layers["counts"].toarray())[:, columns]
    assert np.array_equal(data.counts.toarray(), whole)
    assert (text["n_cells"], text["n_genes"], text["n_batches"], text["n_types"]) == (
        240,
        100,
        2,
        3,
    )
    assert text["batches"] == {"A1": 150, "B2": 90}
    assert text["cell_types"] == {"Ciliated": 80, "Type 1": 80, "Type 2": 80}
    assert text["selection"] == {
        "cells_read": 240, "genes_read": 300, "highly_variable_genes": 100,
        "cells_dropped": 0, "genes_dropped": 0,
    }  # fmt: skip
    assert "log-normalised" in text["notes"][0] and "were rounded" in text["notes"][1]
    assert text["files"][0]["verified"] == "no published checksum"
    path = folder / "Lung_atlas_public.h5ad"
    assert text["files"][0]["sha256"] == sha256(path.read_bytes()).hexdigest()
    assert text["counts"]["total"] == whole.sum() and text["counts"]["largest"] == whole.max()
    assert text["counts"]["fraction_zero"] == pytest.approx((whole == 0).mean())
    assert text["counts"]["median_per_cell"] == np.median(whole.sum(1))


def test_lung_atlas_by_download(server, tmp_path: Path) -> None:
    atlas().write_h5ad(tmp_path / "a.h5ad")
    server.files["/files/24539942"] = (tmp_path / "a.h5ad").read_bytes()
    file = RemoteFile("lung_atlas.h5ad", (f"{server.url}/files/24539942",))
    sources = {"lung_atlas": replace(SOURCES["lung_atlas"], files=(file,), n_top_genes=50)}
    data, text = run(tmp_path, "mine", {"source": "lung_atlas"}, sources=sources)
    assert data.name == "mine" and data.n_genes == 50
    assert text["source"] == "lung_atlas" and "Luecken" in text["citation"]
    assert (tmp_path / "cache" / "lung_atlas" / "lung_atlas.h5ad").is_file()
    server.files.clear()
    again, _ = run(tmp_path, "mine", {"source": "lung_atlas"}, sources=sources)
    assert content_sha256(again) == content_sha256(data) == text["content_sha256"]


def test_cortex_from_the_mirror(shared_data: Path, tmp_path: Path) -> None:
    data, text = run(tmp_path, "cortex", {"n_top_genes": 20}, mirror=shared_data / "mirror")
    assert data.counts.shape == (62, 20) and data.n_batches == 1 and data.n_types == 7
    assert text["cell_types"]["endothelial-mural"] == 8
    assert "Zeisel" in text["citation"] and "GSE60361" in text["licence"]


def test_the_cortex_genes_that_we_have(shared_data: Path, tmp_path: Path) -> None:
    config = {
        "kind": "cells", "path": str(shared_data / "cells" / "zeisel_3005x200.h5ad"),
        "batch_key": "batch", "label_key": "cell_type", "n_top_genes": 100,
    }  # fmt: skip
    data, text = run(tmp_path, "zeisel", config)
    adata = anndata.read_h5ad(config["path"])
    kept = adata[:, data.genes].X.sum(axis=1).A1 >= 3
    assert data.counts.shape == (kept.sum(), 100) == (2965, 100)
    assert (data.counts != adata[kept][:, data.genes].X).nnz == 0
    assert text["selection"]["cells_dropped"] == 40
    assert sum(text["cell_types"].values()) == 2965 and len(text["cell_types"]) == 7


def test_real_data_on_which_the_ranking_is_singular(shared_data: Path, tmp_path: Path) -> None:
    config = {
        "kind": "cells", "path": str(shared_data / "cells" / "pbmc_3tech_symphony.h5ad"),
        "batch_key": "batch", "label_key": "cell_type", "n_top_genes": 500,
    }  # fmt: skip
    data, text = run(tmp_path, "pbmc_3tech", config)
    assert data.counts.shape == (1500, 500) and data.n_batches == 3
    assert text["cell_types"]["HSC"] == 3
    assert text["notes"] == ["Variances were smoothed with span 0.5: 0.3 is singular."]


def test_split_seq_from_a_mirror_folder(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder = tmp_path / "mirror" / "split_seq"
    folder.mkdir(parents=True)
    counts = sp.csr_matrix(random.poisson(1, (40, 12)))
    sp.save_npz(folder / "counts_small.npz", counts)
    table = pd.DataFrame(
        {"polydT": [0, 1] * 20, "cellchat_clusters": ["DG", "CA1", "CA3", "DG"] * 10}
    )
    table.to_csv(folder / "cells_meta.tsv.gz", sep="\t")
    for config, mirror in (({}, tmp_path / "mirror"), ({"path": str(folder)}, None)):
        data, text = run(tmp_path, "split_seq", config, mirror=mirror)
        assert data.counts.sum() == counts.sum()
        assert text["batches"] == {"0": 20, "1": 20}
        assert text["cell_types"] == {"CA1": 10, "CA3": 10, "DG": 20}
    with pytest.raises(InputError, match=r"data set 'split_seq': the matrix file is missing"):
        run(tmp_path, "split_seq", {})
    with pytest.raises(InputError, match=r"no column 'cluster' for `label_key:`"):
        run(tmp_path, "split_seq", {"path": str(folder), "label_key": "cluster"})


@pytest.mark.parametrize(("name", "n_cells"), [("pbmc68k", 700), ("pbmc68k_replicates", 1400)])
def test_the_bundled_cells(tmp_path: Path, name: str, n_cells: int) -> None:
    data, text = run(tmp_path, name, {})
    assert data.counts.shape == (n_cells, 765) and data.n_types == 10
    assert data.n_batches == n_cells // 700
    assert "reconstruction" in text["notes"][0]
    assert data.name == name


def test_digits_and_a_subset(tmp_path: Path) -> None:
    data, text = run(tmp_path, "digits", {"kind": "images", "n_subset": 500})
    assert isinstance(data, ImageData) and len(data) == 500 and data.valid is None
    assert text["n_images"] == sum(text["classes"].values()) == 500 and text["n_valid"] is None
    assert "n_subset" in text["notes"][0]


def test_mnist_subset(shared_data: Path, tmp_path: Path) -> None:
    data, text = run(tmp_path, "m", {"source": "mnist", "n_subset": 700}, shared_data / "mirror")
    assert data.x.shape == (700, 784) and data.valid.tolist() == list(range(600, 700))
    assert text["n_valid"] == 100 and text["n_types"] == 10


def test_own_images_by_url(server, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x_train=np.zeros((8, 2, 2), np.uint8), y_train=np.arange(8) % 2)
    server.files["/a.npz"] = path.read_bytes()
    sum_ = sha256(path.read_bytes()).hexdigest()
    config = {"kind": "images", "url": f"{server.url}/a.npz", "sha256": sum_.upper()}
    data, text = run(tmp_path, "own", config)
    assert len(data) == 8 and text["files"][0]["verified"] == f"sha256 {sum_}"
    with pytest.raises(InputError, match="wrong checksum"):
        run(tmp_path, "own", {**config, "sha256": "0" * 64})
    with pytest.raises(InputError, match="`url:` needs `sha256:`"):
        run(tmp_path, "own", {"kind": "images", "url": config["url"]})


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    run(tmp_path, "pbmc68k_replicates", {})
    first = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    run(tmp_path, "pbmc68k_replicates", {})
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert len(first) == 2


OWN = {"kind": "cells", "path": "my.h5ad", "label_key": "cell_type", "layer": "counts"}


@pytest.mark.parametrize(
    ("name", "config", "problem"),
    [
        ("x", {}, "data set 'x' has neither of `path:` and `url:`, and is not built in"),
        ("x", {"source": "mnits"}, "there is no source 'mnits'; built in are mnist, fashion_mnist"),
        ("x", {"source": "cortex", "path": "my.h5ad"}, "`source: cortex` and `path:` exclude"),
        ("x", {**OWN, "url": "http://h/a.h5ad"}, "has both of `path:` and `url:`"),
        ("mnist", {"kind": "cells"}, "has `kind: cells`, but its source holds images"),
        ("x", {"path": "my.h5ad"}, "`kind:` must be cells or images, not None"),
        ("x", {**OWN, "path": "gone.h5ad"}, "gone.h5ad does not exist; `path:` of the data set"),
        ("x", {**OWN, "path": "."}, ". is not a file; `path:` of the data set 'x' must"),
        ("x", {**OWN, "sha256": "0" * 64}, "my.h5ad has the wrong checksum"),
        ("x", {**OWN, "layer": "raw_counts"}, "no layer 'raw_counts' for `layer:`; its layers are"),
        ("x", {**OWN, "layer": None}, "counts in X of my.h5ad are not integers (first: "),
        ("x", {**OWN, "layer": None}, "in all); give `layer: counts`, which has whole numbers."),
        ("x", {**OWN, "batch_key": "donor"}, "my.h5ad has no column 'donor' for `batch_key:`; its"),
        ("x", {**OWN, "kind": "images"}, "cannot be read as an .npz"),
        ("x", {**OWN, "path": "text.h5ad"}, "text.h5ad is not an .h5ad file"),
    ],
)  # fmt: skip
def test_configurations_that_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, config: dict, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    adata = atlas(30, 20)
    adata.layers["counts"] = adata.layers["counts"].ceil()
    adata.write_h5ad("my.h5ad")
    Path("text.h5ad").write_text("hello")
    with pytest.raises(InputError) as caught:
        run(tmp_path, name, config)
    assert problem in str(caught.value)
    assert f"'{name}'" in str(caught.value) or "my.h5ad" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_own_file_under_the_name_of_a_built_in_set(tmp_path: Path) -> None:
    adata = atlas(30, 20)
    adata.layers["counts"] = adata.layers["counts"].ceil()
    adata.write_h5ad(tmp_path / "my.h5ad")
    config = {**OWN, "path": str(tmp_path / "my.h5ad"), "batch_key": "batch"}
    data, text = run(tmp_path, "cortex", config)
    assert data.n_cells == 30 and text["source"] == "cortex" and text["licence"] == "the owner's"
