"""Commands that are shown can be pasted: on the page, in documents, in the help, in messages."""

from __future__ import annotations

import html
import re
import shlex
from pathlib import Path

import anndata
import numpy as np
import pytest
from bad_input import cells, program

from vmm.cli import EXAMPLES, main, parser
from vmm.cli.page import command

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
SMALL = ["--max-epochs", "1", "--n-components", "4", "--n-hidden", "8", "--n-latent", "3"]


def shown() -> list[str]:
    """Return the calls of ``vmm`` that documents and the help show, each once."""
    texts = [EXAMPLES] + [block for page in PAGES for block in BLOCK.findall(page.read_text())]
    lines = "\n".join(texts).replace("\\\n", " ").splitlines()
    return sorted({" ".join(line.split()) for line in lines if line.strip().startswith("vmm ")})


def write_cells(folder: Path) -> None:
    """Write the files that commands name, with the columns that they name."""
    adata = cells(60)
    adata.layers["counts"] = adata.X.copy()
    adata.obs["sample"] = adata.obs["donor"]
    for name in ("my", "atlas"):
        adata.write_h5ad(folder / f"{name}.h5ad")


def run(line: str, *more: str) -> int:
    """Run a command as a shell would part it."""
    name, *words = shlex.split(line)
    assert name == "vmm"
    return program(main, *words, *more).status


@pytest.mark.parametrize("line", shown())
def test_commands_of_documents_run(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path)
    fit = line.startswith("vmm fit ")
    assert run(line, *(SMALL if fit else [])) == 0
    assert not fit or (tmp_path / "out" / "report.html").exists()


def test_documents_show_commands():
    lines = shown()
    assert len(lines) >= 4 and sum("--layer counts" in line for line in lines) >= 2


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--no-cuda-graph", "--round"],
        ["--batch-key", "a 'donor'; rm -r *", "--layer=-counts"],
        ["--label-key", "$HOME", "--output", "~/my results/"],
    ],
)
def test_the_command_of_a_page_has_the_same_options(words):
    """But for the folder: that one has files."""
    given = ["fit", "my cells.h5ad", "--output", "out", *words]
    options = parser().parse_args(given)
    pasted = parser().parse_args(shlex.split(command(options))[1:])
    assert pasted.output == options.output.rstrip("/") + "_again"
    assert vars(pasted) | {"output": options.output} == vars(options)


def test_the_command_of_a_page_trains_the_same_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cells(tmp_path)
    (tmp_path / "my.h5ad").rename("-my cells.h5ad")
    assert main(["fit", "./-my cells.h5ad", "-o", "out", "--batch-key", "donor", *SMALL]) == 0
    text = html.unescape(re.sub("<[^>]+>", "", (tmp_path / "out" / "report.html").read_text()))
    assert run(re.search("vmm fit .*", text)[0]) == 0
    first, again = (
        anndata.read_h5ad(tmp_path / folder / "-my cells_vmm.h5ad")
        for folder in ("out", "out_again")
    )
    np.testing.assert_array_equal(first.obsm["X_vmm"], again.obsm["X_vmm"])


@pytest.mark.parametrize("name", ["counts", "my counts", "-counts", "null", "$(raw)"])
def test_the_option_of_a_message_is_the_one_that_helps(name, tmp_path, capsys):
    adata = cells(60)
    adata.layers[name], adata.X = adata.X, np.log1p(adata.X)
    adata.write_h5ad(tmp_path / "my.h5ad")
    given = ["fit", str(tmp_path / "my.h5ad"), "-o", str(tmp_path / "out"), *SMALL]
    assert main(given) == 2
    option = re.search(r"; give (--layer.*), which has whole", capsys.readouterr().err)[1]
    assert main([*given, *shlex.split(option)]) == 0


def test_the_option_for_few_genes(tmp_path, capsys):
    """Where genes cannot be ranked, the message says how to take all."""
    adata = cells(60)
    adata.X[:] = np.arange(1, 13)
    adata.write_h5ad(tmp_path / "my.h5ad")
    given = ["fit", str(tmp_path / "my.h5ad"), "-o", str(tmp_path / "out"), *SMALL]
    assert main([*given, "--n-top-genes", "5"]) == 2
    option = re.search(r"set (--n-top-genes \S+) to keep all", capsys.readouterr().err)[1]
    assert main([*given, *option.split()]) == 0
