from __future__ import annotations

from pathlib import Path

import pytest

from vmm.data.download import Fetched
from vmm.data.sources.cortex import read
from vmm.errors import InputError


def test_the_miniature_cortex_file(shared_data: Path) -> None:
    path = shared_data / "mirror" / "cortex" / "expression_mRNA_17-Aug-2014.txt"
    raw = read({path.name: Fetched(path)}, {})
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert raw.counts.shape == (62, 63)
    assert raw.genes[:2] == ["THY1", "MBP"]
    assert raw.obs["level1class"].tolist() == lines[8][2:]
    for column in (0, 30, 62):
        expected = [int(value) for value in lines[11 + column][2:]]
        assert raw.counts[:, column].toarray().ravel().tolist() == expected
    assert "tissue" not in raw.obs  # 3005 values for 62 cells


def cortex_text(n_cells: int = 3) -> str:
    rows = [
        ["", name, *["1"] * n_cells]
        for name in ("tissue", "group #", "total", "well", "sex", "age", "diameter")
    ]
    rows.append(["", "cell_id", *[f"177_{i}" for i in range(n_cells)]])
    rows.append(["", "level1class", *["astro", "neuron", "neuron"][:n_cells]])
    rows.append(["", "level2class", *["Astro1", "Int1", "Int2"][:n_cells]])
    rows.append([])
    rows.append(["Tspan12", "1", *"012"[:n_cells]])
    rows.append(["NaN", "1", *"300"[:n_cells]])  # a gene may be called so
    return "\n".join("\t".join(row) for row in rows) + "\n"


def test_cortex_rows_become_columns(tmp_path: Path) -> None:
    path = tmp_path / "cortex.txt"
    path.write_text(cortex_text())
    raw = read({path.name: Fetched(path)}, {})
    assert raw.counts.toarray().tolist() == [[0, 3], [1, 0], [2, 0]]
    assert raw.genes == ["Tspan12", "NaN"]
    assert raw.obs.index.tolist() == ["177_0", "177_1", "177_2"]
    assert raw.obs["level2class"].tolist() == ["Astro1", "Int1", "Int2"]
    assert raw.obs["tissue"].tolist() == ["1", "1", "1"]


def test_broken_cortex_files(tmp_path: Path) -> None:
    path = tmp_path / "cortex.txt"
    text = cortex_text()
    for content, problem in (
        ("", "not the cortex file"),
        (text[: text.index("Tspan12")], "not the cortex file"),
        (text.replace("neuron\tneuron", "neuron"), "row 8 .level1class. should have"),
        (text.replace("0\t1\t2", "0\t1\tx"), "not whole numbers"),
        (text.replace("0\t1\t2", "0\t1"), "Expected 4 fields in line 13, saw 5"),
        (text[:-3], "truncated or damaged"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=problem):
            read({path.name: Fetched(path)}, {})
