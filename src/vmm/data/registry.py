"""Built-in data sets: files, checksums, licences, citations, readers.

A new built-in data set is one reader and one entry of `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from vmm.data import images, pbmc
from vmm.data.bundled import read_pbmc68k, read_pbmc68k_replicates
from vmm.data.cells import read_cortex, read_lung_atlas, read_split_seq
from vmm.data.download import Checksum, RemoteFile
from vmm.data.raw import Files, RawCells, RawImages

Read = Callable[[Files, Mapping[str, Any]], RawCells | RawImages]


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and how it is read.

    Parameters
    ----------
    kind
        ``cells`` or ``images``.
    title
        What it is, in a line.
    read
        Turns the verified files and the configuration into raw data.
    licence, citation, homepage
        Terms of use, whom to cite, where to read on.
    files
        What must be fetched; empty: ships with a library, or the user supplies it.
    batch_key, label_key
        Default columns; ``batch_key`` None: one batch.
    n_top_genes
        Default number of highly variable genes; None: all.
    user_supplied
        Whether ``path:`` (or ``matrix:`` and ``cells:``) names the user's copy.
    notes
        What a reader of the results should know.
    """

    kind: Literal["cells", "images"]
    title: str
    read: Read
    licence: str
    citation: str
    homepage: str
    files: tuple[RemoteFile, ...] = ()
    batch_key: str | None = None
    label_key: str | None = None
    n_top_genes: int | None = None
    user_supplied: bool = False
    notes: tuple[str, ...] = ()


def _idx(places: tuple[str, ...], sums: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    """Files of MNIST or Fashion-MNIST; the sums are SHA-256 of the decompressed bytes."""
    return tuple(
        RemoteFile(
            name=name,
            urls=tuple(place + name for place in places),
            checksum=Checksum("sha256", sums[key], decompressed=True),
        )
        for key, name in images.IDX_FILES.items()
    )


MNIST = Source(
    kind="images",
    title="MNIST: handwritten digits, 28 × 28, 60 000 for training and 10 000 for validation",
    read=partial(images.read_idx_set, label_names=images.DIGITS),
    licence="CC BY-SA 3.0",
    citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document "
    "recognition, Proceedings of the IEEE 86 (1998), doi:10.1109/5.726791",
    homepage="http://yann.lecun.com/exdb/mnist/",
    files=_idx(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "x_train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "y_train": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "x_valid": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "y_valid": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        },
    ),
)

FASHION_MNIST = Source(
    kind="images",
    title="Fashion-MNIST: articles of clothing, 28 × 28, 60 000 for training and 10 000 for "
    "validation",
    read=partial(images.read_idx_set, label_names=images.FASHION),
    licence="MIT",
    citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking "
    "machine learning algorithms, arXiv:1708.07747 (2017)",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
    files=_idx(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        ),
        {
            "x_train": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "y_train": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "x_valid": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "y_valid": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        },
    ),
)

DIGITS = Source(
    kind="images",
    title="Optical recognition of handwritten digits, 8 × 8, as bundled with scikit-learn",
    read=images.read_digits,
    licence="CC BY 4.0",
    citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning "
    "Repository (1998), doi:10.24432/C50P49",
    homepage="https://archive.ics.uci.edu/dataset/80",
)

CORTEX = Source(
    kind="cells",
    title="Mouse cortex and hippocampus, 3005 cells of 7 types",
    read=read_cortex,
    licence="not stated by the authors; public (GEO GSE60361)",
    citation="Zeisel et al., Cell types in the mouse cortex and hippocampus revealed by "
    "single-cell RNA-seq, Science 347 (2015), doi:10.1126/science.aaa1934",
    homepage="http://linnarssonlab.org/cortex/",
    files=(
        RemoteFile(
            name="expression_mRNA_17-Aug-2014.txt",
            urls=(
                "https://storage.googleapis.com/linnarsson-lab-www-blobs/blobs/cortex/"
                "expression_mRNA_17-Aug-2014.txt",
            ),
        ),
    ),
    label_key="level1class",
    n_top_genes=558,
)

_10X = "https://cf.10xgenomics.com/samples/cell-exp/2.1.0"
_SCVI = "https://github.com/YosefLab/scVI-data/raw/master"

PBMC = Source(
    kind="cells",
    title="Human peripheral blood mononuclear cells of two 10x runs, 11 990 cells of 9 types",
    read=pbmc.read_pbmc,
    licence="CC BY 4.0 (10x Genomics); labels: not stated (YosefLab/scVI-data)",
    citation="10x Genomics, 8k and 4k PBMCs from a healthy donor (Cell Ranger 2.1.0); labels: "
    "Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 15 "
    "(2018), doi:10.1038/s41592-018-0229-2",
    homepage="https://github.com/YosefLab/scVI-data",
    files=(
        RemoteFile(
            name=pbmc.archive("pbmc8k"),
            urls=(f"{_10X}/pbmc8k/{pbmc.archive('pbmc8k')}",),
            checksum=Checksum("md5", "cbb3a7553ece7eaddeb8a56df781ccb0"),
            mirror_names=("pbmc8k/filtered_gene_bc_matrices.tar.gz",),
        ),
        RemoteFile(
            name=pbmc.archive("pbmc4k"),
            urls=(f"{_10X}/pbmc4k/{pbmc.archive('pbmc4k')}",),
            checksum=Checksum("md5", "f61f4deca423ef0fa82d63fdfa0497f7"),
            mirror_names=("pbmc4k/filtered_gene_bc_matrices.tar.gz",),
        ),
        RemoteFile(
            name=pbmc.GENES,
            urls=(f"{_SCVI}/gene_info.csv",),
            checksum=Checksum("md5", "672788765854a9c4c9bcc6be76644e67"),
            mirror_names=("gene_info.csv",),
        ),
        RemoteFile(
            name=pbmc.METADATA,
            urls=(f"{_SCVI}/{pbmc.METADATA}",),
            checksum=Checksum("md5", "4f4fae376e7bc27ac607aa4256244a22"),
        ),
    ),
    batch_key="batch",
    label_key="cell_type",
)

LUNG_ATLAS = Source(
    kind="cells",
    title="Human lung atlas of the scIB benchmark: 16 batches, 17 cell types",
    read=read_lung_atlas,
    licence="CC BY 4.0",
    citation="Luecken et al., Benchmarking atlas-level data integration in single-cell genomics, "
    "Nature Methods 19 (2022), doi:10.1038/s41592-021-01336-8; data: Vieira Braga et al., A "
    "cellular census of human lungs, Nature Medicine 25 (2019), doi:10.1038/s41591-019-0468-5",
    homepage="https://doi.org/10.6084/m9.figshare.12420968",
    files=(
        RemoteFile(
            name="lung_atlas.h5ad",
            urls=(
                "https://figshare.com/ndownloader/files/24539942",
                "https://ndownloader.figshare.com/files/24539942",
            ),
            mirror_names=("Lung_atlas_public.h5ad", "24539942"),
        ),
    ),
    batch_key="batch",
    label_key="cell_type",
    n_top_genes=2000,
    notes=(
        "The published implementation of the VampPrior Mixture Model trained on X of this file, "
        "which is log-normalised; here the layer 'counts' is used, so numbers need not agree.",
    ),
)

SPLIT_SEQ = Source(
    kind="cells",
    title="SPLiT-seq: every cell sequenced after two library preparations; supplied by the user",
    read=read_split_seq,
    licence="the authors'; not redistributed",
    citation="Shabestari et al., Absence of microglia promotes diverse pathologies and early "
    "lethality in Alzheimer's disease mice, Cell Reports 39:110961 (2022), "
    "doi:10.1016/j.celrep.2022.110961",
    homepage="https://doi.org/10.1016/j.celrep.2022.110961",
    batch_key="polydT",
    label_key="cellchat_clusters",
    user_supplied=True,
)

PBMC68K = Source(
    kind="cells",
    title="700 human peripheral blood mononuclear cells (10x), as bundled with scanpy",
    read=read_pbmc68k,
    licence="CC BY 4.0 (10x Genomics); file: BSD-3-Clause (scanpy)",
    citation="Zheng et al., Massively parallel digital transcriptional profiling of single cells, "
    "Nature Communications 8:14049 (2017), doi:10.1038/ncomms14049; subset: Wolf, Angerer and "
    "Theis, SCANPY, Genome Biology 19:15 (2018), doi:10.1186/s13059-017-1382-0",
    homepage="https://scanpy.readthedocs.io/en/stable/generated/"
    "scanpy.datasets.pbmc68k_reduced.html",
    label_key="bulk_labels",
)

PBMC68K_REPLICATES = replace(
    PBMC68K,
    title="Two technical replicates of 700 human peripheral blood mononuclear cells, by thinning",
    read=read_pbmc68k_replicates,
    batch_key="replicate",
)

SOURCES: dict[str, Source] = {
    "mnist": MNIST,
    "fashion_mnist": FASHION_MNIST,
    "cortex": CORTEX,
    "pbmc": PBMC,
    "lung_atlas": LUNG_ATLAS,
    "split_seq": SPLIT_SEQ,
    "digits": DIGITS,
    "pbmc68k": PBMC68K,
    "pbmc68k_replicates": PBMC68K_REPLICATES,
}
"""All built-in data sets by name."""
