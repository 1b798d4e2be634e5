"""Records of the built-in data sets: files, checksums, licences, citations, readers.

A new built-in data set is a file beside this one, with its reader, and a record here.
``vmm.testing.sources`` has the tests that it must pass.
"""

from __future__ import annotations

from typing import Any

from vmm.data.source import Checksum, RemoteFile, Source
from vmm.lazy import by_name

IDX = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_10X = "https://cf.10xgenomics.com/samples/cell-exp/2.1.0"
_SCVI = "https://github.com/YosefLab/scVI-data/raw/master"


def _idx(places: tuple[str, ...], digests: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    """Files of MNIST or Fashion-MNIST; the sums are SHA-256 of the decompressed bytes."""
    return tuple(
        RemoteFile(
            name=name,
            urls=tuple(place + name for place in places),
            checksum=Checksum("sha256", digest, decompressed=True),
        )
        for name, digest in zip(IDX, digests, strict=True)
    )


_ZHENG: dict[str, Any] = dict(
    licence="CC BY 4.0 (10x Genomics); file: BSD-3-Clause (scanpy)",
    citation="Zheng et al., Massively parallel digital transcriptional profiling of single cells, "
    "Nature Communications 8:14049 (2017), doi:10.1038/ncomms14049; subset: Wolf, Angerer and "
    "Theis, SCANPY, Genome Biology 19:15 (2018), doi:10.1186/s13059-017-1382-0",
    homepage="https://scanpy.readthedocs.io/en/stable/generated/"
    "scanpy.datasets.pbmc68k_reduced.html",
    label_key="bulk_labels",
)
"""What is said of both sets made of the same cells."""

_RECORDS = (
    Source(
        name="mnist",
        label="MNIST",
        kind="images",
        title="MNIST: handwritten digits, 28 × 28, 60 000 for training and 10 000 for validation",
        reader="vmm.data.sources.mnist:read",
        licence="CC BY-SA 3.0",
        citation="LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document "
        "recognition, Proceedings of the IEEE 86 (1998), doi:10.1109/5.726791",
        homepage="http://yann.lecun.com/exdb/mnist/",
        files=_idx(
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        published=True,
    ),
    Source(
        name="fashion_mnist",
        label="Fashion-MNIST",
        kind="images",
        title="Fashion-MNIST: articles of clothing, 28 × 28, 60 000 for training and 10 000 for "
        "validation",
        reader="vmm.data.sources.fashion_mnist:read",
        licence="MIT",
        citation="Xiao, Rasul and Vollgraf, Fashion-MNIST: a novel image dataset for benchmarking "
        "machine learning algorithms, arXiv:1708.07747 (2017)",
        homepage="https://github.com/zalandoresearch/fashion-mnist",
        files=_idx(
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
            ),
            (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
        ),
        published=True,
    ),
    Source(
        name="cortex",
        label="cortex",
        kind="cells",
        title="Mouse cortex and hippocampus, 3005 cells of 7 types",
        reader="vmm.data.sources.cortex:read",
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
        published=True,
    ),
    Source(
        name="pbmc",
        label="PBMC",
        kind="cells",
        title="Human peripheral blood mononuclear cells of two 10x runs, 11 990 cells of 9 types",
        reader="vmm.data.sources.pbmc:read",
        licence="CC BY 4.0 (10x Genomics); labels: not stated (YosefLab/scVI-data)",
        citation="10x Genomics, 8k and 4k PBMCs from a healthy donor (Cell Ranger 2.1.0); labels: "
        "Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods 15 "
        "(2018), doi:10.1038/s41592-018-0229-2",
        homepage="https://github.com/YosefLab/scVI-data",
        files=(
            RemoteFile(
                name="pbmc8k_filtered_gene_bc_matrices.tar.gz",
                urls=(f"{_10X}/pbmc8k/pbmc8k_filtered_gene_bc_matrices.tar.gz",),
                checksum=Checksum("md5", "cbb3a7553ece7eaddeb8a56df781ccb0"),
                mirror_names=("pbmc8k/filtered_gene_bc_matrices.tar.gz",),
            ),
            RemoteFile(
                name="pbmc4k_filtered_gene_bc_matrices.tar.gz",
                urls=(f"{_10X}/pbmc4k/pbmc4k_filtered_gene_bc_matrices.tar.gz",),
                checksum=Checksum("md5", "f61f4deca423ef0fa82d63fdfa0497f7"),
                mirror_names=("pbmc4k/filtered_gene_bc_matrices.tar.gz",),
            ),
            RemoteFile(
                name="gene_info_pbmc.csv",
                urls=(f"{_SCVI}/gene_info.csv",),
                checksum=Checksum("md5", "672788765854a9c4c9bcc6be76644e67"),
                mirror_names=("gene_info.csv",),
            ),
            RemoteFile(
                name="pbmc_metadata.pickle",
                urls=(f"{_SCVI}/pbmc_metadata.pickle",),
                checksum=Checksum("md5", "4f4fae376e7bc27ac607aa4256244a22"),
            ),
        ),
        batch_key="batch",
        label_key="cell_type",
        published=True,
    ),
    Source(
        name="lung_atlas",
        label="lung atlas",
        kind="cells",
        title="Human lung atlas of the scIB benchmark: 16 batches, 17 cell types",
        reader="vmm.data.sources.lung_atlas:read",
        licence="CC BY 4.0",
        citation="Luecken et al., Benchmarking atlas-level data integration in single-cell "
        "genomics, Nature Methods 19 (2022), doi:10.1038/s41592-021-01336-8; data: Vieira Braga et "
        "al., A cellular census of human lungs, Nature Medicine 25 (2019), "
        "doi:10.1038/s41591-019-0468-5",
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
        published=True,
        notes=(
            "The published implementation of the VampPrior Mixture Model trained on X of this "
            "file, which is log-normalised; here the layer 'counts' is used, so numbers need not "
            "agree.",
        ),
    ),
    Source(
        name="split_seq",
        label="SPLiT-seq",
        kind="cells",
        title="SPLiT-seq: every cell sequenced after two library preparations; supplied by the "
        "user",
        reader="vmm.data.sources.split_seq:read",
        licence="the authors'; not redistributed",
        citation="Shabestari et al., Absence of microglia promotes diverse pathologies and early "
        "lethality in Alzheimer's disease mice, Cell Reports 39:110961 (2022), "
        "doi:10.1016/j.celrep.2022.110961",
        homepage="https://doi.org/10.1016/j.celrep.2022.110961",
        batch_key="polydT",
        label_key="cellchat_clusters",
        user_supplied=True,
        published=True,
    ),
    Source(
        name="digits",
        label="Digits",
        kind="images",
        title="Optical recognition of handwritten digits, 8 × 8, as bundled with scikit-learn",
        reader="vmm.data.sources.digits:read",
        licence="CC BY 4.0",
        citation="Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI Machine "
        "Learning Repository (1998), doi:10.24432/C50P49",
        homepage="https://archive.ics.uci.edu/dataset/80",
    ),
    Source(
        name="pbmc68k",
        label="pbmc68k",
        kind="cells",
        title="700 human peripheral blood mononuclear cells (10x), as bundled with scanpy",
        reader="vmm.data.sources.pbmc68k:read",
        **_ZHENG,
    ),
    Source(
        name="pbmc68k_replicates",
        label="pbmc68k_replicates",
        kind="cells",
        title="Two technical replicates of 700 human peripheral blood mononuclear cells, by "
        "thinning",
        reader="vmm.data.sources.pbmc68k_replicates:read",
        batch_key="replicate",
        **_ZHENG,
    ),
)

SOURCES: dict[str, Source] = by_name(_RECORDS)
"""All built-in data sets by name."""
