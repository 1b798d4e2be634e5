from __future__ import annotations

import gzip
import io
import pickle
import tarfile
from dataclasses import replace
from hashlib import md5, sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp

from vmm.data.download import Fetched
from vmm.data.preparation import prepare
from vmm.data.source import Checksum
from vmm.data.sources.pbmc import read
from vmm.data.sources.pbmc_labels import read_labels
from vmm.data.sources.records import SOURCES
from vmm.data.sources.tenx import read_archive
from vmm.errors import InputError

PBMC = SOURCES["pbmc"]

MINIATURE = {
    "pbmc8k_filtered_gene_bc_matrices.tar.gz": "61c614b89f6f0eb3f34454cd17e8a6ad",
    "pbmc4k_filtered_gene_bc_matrices.tar.gz": "fddf0e4a7b8b82021810d88c51765b5d",
    "gene_info_pbmc.csv": "ae49fa076a9213b037bdf251d6993673",
    "pbmc_metadata.pickle": "a36aeb772e102f8dc6131d9ad95ba4a0",
}


def test_the_miniature_is_what_scvi_tools_makes_of_it(shared_data: Path, tmp_path: Path) -> None:
    """The numbers are of ``scvi.data.pbmc_dataset`` 1.4.2 on the same files."""
    files = (replace(f, checksum=Checksum("md5", MINIATURE[f.name])) for f in PBMC.files)
    data = prepare(
        "pbmc", {}, shared_data / "mirror", tmp_path, tmp_path / "a.npz", tmp_path / "a.json",
        sources={"pbmc": replace(PBMC, files=tuple(files))},
    )  # fmt: skip
    assert data.counts.shape == (91, 10) and data.counts.sum() == 238_279
    assert data.counts.sum(axis=1).A1[:5].tolist() == [2520, 1930, 10682, 2273, 8264]
    assert data.batch_names == ["pbmc8k", "pbmc4k"] and np.bincount(data.batch).tolist() == [46, 45]
    assert data.genes[:4].tolist() == [
        "ENSG00000188976", "ENSG00000187608", "ENSG00000149527", "ENSG00000157881",
    ]  # fmt: skip
    assert data.cells[0] == "AAACCTGAGCTAGTGG-1"
    assert [data.label_names[code] for code in data.labels[:5]] == [
        "CD4 T cells", "CD4 T cells", "CD14+ Monocytes", "CD14+ Monocytes", "CD8 T cells",
    ]  # fmt: skip


def test_the_miniature_is_not_the_original(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.npz", tmp_path / "a.json"
    with pytest.raises(InputError, match="wrong checksum"):
        prepare("pbmc", {}, shared_data / "mirror", tmp_path, *out)
    assert not any(path.exists() for path in out)


# A pair of runs made here ------------------------------------------------------------------------


def tar(path: Path, counts: np.ndarray, genes: list[str], cells: list[str], v3: bool) -> Path:
    """Write a 10x archive as Cell Ranger 2 or (`v3`) 3 did."""
    matrix = io.BytesIO()
    scipy.io.mmwrite(matrix, sp.coo_matrix(counts.T))
    suffix, pack = (".gz", gzip.compress) if v3 else ("", bytes)
    members = {
        f"matrix.mtx{suffix}": pack(matrix.getvalue()),
        f"{'features' if v3 else 'genes'}.tsv{suffix}": pack(
            "".join(f"{gene}\tname of {gene}\n" for gene in genes).encode()
        ),
        f"barcodes.tsv{suffix}": pack("".join(f"{cell}\n" for cell in cells).encode()),
    }
    with tarfile.open(path, "w:gz") as archive_file:
        for name, content in members.items():
            info = tarfile.TarInfo(f"filtered_gene_bc_matrices/GRCh38/{name}")
            info.size = len(content)
            archive_file.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("v3", [False, True])
def test_10x_archives_of_both_versions(tmp_path: Path, v3: bool) -> None:
    counts = np.array([[1, 0, 2], [0, 0, 0], [0, 5, 0]])
    path = tar(tmp_path / "a.tar.gz", counts, ["E1", "E2", "E3"], ["A-1", "C-1", "G-1"], v3)
    matrix, genes, cells = read_archive(path)
    assert matrix.toarray().tolist() == [[1, 0, 2], [0, 5, 0]]  # the empty cell is left out
    assert genes == ["E1", "E2", "E3"] and cells.tolist() == ["A-1", "G-1"]


def test_broken_10x_archives(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar.gz", np.eye(3, dtype=int), ["E1", "E2"], ["A", "B", "C"], False)
    with pytest.raises(InputError, match="3 barcodes and 2 genes"):
        read_archive(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_archive(path)
    with tarfile.open(path, "w:gz") as archive_file:
        archive_file.addfile(tarfile.TarInfo("readme.txt"))
    with pytest.raises(InputError, match=r"has no matrix\.mtx in it"):
        read_archive(path)


def pickled(path: Path, content: object) -> tuple[Path, Checksum]:
    path.write_bytes(pickle.dumps(content, protocol=2))
    return path, Checksum("sha256", sha256(path.read_bytes()).hexdigest())


def labels(barcodes: list[str], clusters: list[int]) -> dict:
    return {
        "barcodes": pd.DataFrame({"Unnamed: 0": range(len(barcodes))}, index=barcodes),
        "clusters": np.array(clusters),
        "list_clusters": np.array(["B cells", "T cells"], dtype=object),
    }


def test_runs_and_labels_are_put_together(tmp_path: Path) -> None:
    eight = tar(
        tmp_path / "8.tar.gz", np.array([[1, 2, 0, 9], [3, 4, 0, 9], [5, 6, 0, 9]]),
        ["E1", "E2", "E3", "E4"], ["A-1", "C-1", "G-1"], False,
    )  # fmt: skip
    four = tar(
        tmp_path / "4.tar.gz", np.array([[7, 0, 1, 9], [8, 1, 1, 9]]),
        ["E2", "E1", "E3", "E4"], ["G-1", "T-1"], False,
    )  # fmt: skip
    (tmp_path / "genes.csv").write_text(",ENSG,GS\n1,E2,b\n2,E1,a\n3,E3,c\n4,E9,z\n")
    metadata = pickled(tmp_path / "m.pickle", labels(["T-1", "A-1", "G-1", "G-11"], [1, 0, 1, 0]))
    files = [(eight,), (four,), (tmp_path / "genes.csv",), metadata]
    raw = read({file.name: Fetched(*files[i]) for i, file in enumerate(PBMC.files)}, {})
    # E3 is not expressed in the first run, E4 is not in the list; the order is the list's
    assert raw.genes == ["E2", "E1"]
    # G-1 is in both runs and stands for the second's; C-1 has no label; G-11 is in neither
    assert raw.obs.index.tolist() == ["T-1", "A-1", "G-1"]
    assert raw.counts.toarray().tolist() == [[8, 1], [2, 1], [7, 0]]
    assert raw.obs["batch"].tolist() == ["pbmc4k", "pbmc8k", "pbmc4k"]
    assert raw.obs["cell_type"].tolist() == ["T cells", "B cells", "T cells"]
    assert raw.notes[0] == "1 of 4 labelled barcodes are in neither run."
    assert raw.notes[1].startswith("1 barcodes occur in both runs")


class Exploit:
    """Unpickling this runs code: it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return Path.mkdir, (self.folder,)


def test_a_pickle_is_not_opened_without_its_checksum(tmp_path: Path) -> None:
    path, checksum = pickled(tmp_path / "m.pickle", Exploit(tmp_path / "broken_in"))
    with pytest.raises(InputError, match=r"wrong checksum .* was not opened"):
        read_labels(path, Checksum("md5", "0" * 32))
    with pytest.raises(InputError, match="has no checksum: not opened"):
        read_labels(path, None)
    with pytest.raises(InputError, match=r"mkdir|getattr|Path.* is not allowed"):
        read_labels(path, checksum)
    assert not (tmp_path / "broken_in").exists()
    for harmful in (eval, np.load, pd.read_pickle, getattr):
        with pytest.raises(InputError, match="is not allowed in it"):
            read_labels(*pickled(path, harmful))


def test_labels_of_another_form_are_refused(tmp_path: Path) -> None:
    for content in ({"barcodes": np.zeros(2)}, {}, labels(["A-1"], [7]), labels(["A-1"], [0, 1])):
        path, checksum = pickled(tmp_path / "m.pickle", content)
        with pytest.raises(InputError, match="does not hold scVI's PBMC metadata"):
            read_labels(path, checksum)
    path, _ = pickled(tmp_path / "m.pickle", labels(["A-1", "C-1"], [1, 0]))
    found = read_labels(path, Checksum("md5", md5(path.read_bytes()).hexdigest()))
    assert found == {"A-1": "T cells", "C-1": "B cells"}
