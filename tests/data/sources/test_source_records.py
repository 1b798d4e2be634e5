from __future__ import annotations

import subprocess
import sys

from vmm.data.sources.records import SOURCES


def test_the_data_sets_of_the_paper_and_the_demo() -> None:
    bundled = {name for name, s in SOURCES.items() if not (s.files or s.user_supplied)}
    assert bundled >= {"digits", "pbmc68k", "pbmc68k_replicates"}
    assert [name for name, s in SOURCES.items() if s.published] == [
        "mnist", "fashion_mnist", "cortex", "pbmc", "lung_atlas", "split_seq",
    ]  # fmt: skip
    assert [s.label for s in SOURCES.values() if s.published] == [
        "MNIST", "Fashion-MNIST", "cortex", "PBMC", "lung atlas", "SPLiT-seq",
    ]  # fmt: skip
    assert all(name == source.name for name, source in SOURCES.items())
    assert len({source.reader for source in SOURCES.values()}) == len(SOURCES)


def test_image_sets_do_not_share_files() -> None:
    images = [*SOURCES["mnist"].files, *SOURCES["fashion_mnist"].files]
    assert len({file.checksum for file in images}) == 8


def test_what_a_prepared_file_depends_on() -> None:
    facts = SOURCES["mnist"].prepared_from()
    assert facts.keys() >= {"reader", "files", "licence", "notes"}
    assert not facts.keys() & {"label", "published"}


def test_records_need_no_libraries() -> None:
    """Snakemake reads them each time it starts."""
    code = (
        "import sys, vmm.data.sources.records, vmm.data.origin; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "scipy", "pandas", "torch", "sklearn"} & set(result.stdout.split())
