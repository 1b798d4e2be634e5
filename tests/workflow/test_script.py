"""What a job says, and where: all of it in its log, its progress in the terminal too."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vmm.lazy import resolve

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"

JOB = """
import logging, sys, warnings
from types import SimpleNamespace

sys.path.insert(0, sys.argv[1])
from _script import job

snakemake = SimpleNamespace(log=sys.argv[2:], threads=1, input=[], output=[])
with job(snakemake):
    import tqdm
    from vmm.progress import progress, say, stream

    progress("cells vmm trial 0", 9, interval=0)(
        {"epoch": 3, "valid_elbo": -1.5, "utilized_clusters": 2}
    )
    say("checkpoint.pt: resumed after epoch 2")
    say("ü")
    with tqdm.tqdm(desc="file.h5ad", total=4, unit="B", file=stream()) as bar:
        bar.update(4)
    # What libraries say, like progress or not.
    logging.getLogger("library").warning("library: epoch 1, loss 3")
    logging.getLogger("vmm.data").info("cells: 3 cells")
    # Python shows this line too, from 3.13 on.
    what = "resumed after epoch 1"
    warnings.warn(f"library: {what}")
    print("library: epoch 2, loss 2")
    print("weights.bin: 7.00B [00:00, 9.1MB/s]", file=sys.stderr)
"""
SHOWN = [
    "cells vmm trial 0: epoch 3, ELBO -1.5, 2 clusters",
    "checkpoint.pt: resumed after epoch 2",
    "ü",
]
NOT_SHOWN = ["library: epoch 1,", "library: resumed", "library: epoch 2,", "weights.bin", "3 cells"]


def terminal_of(log: str) -> list[str]:
    """Run the job; return the lines that it writes to the terminal."""
    command = [sys.executable, "-c", JOB, str(SCRIPTS), log]
    environment = os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0 and not done.stdout
    return done.stderr.splitlines()


def test_progress_goes_to_the_terminal_and_the_log_all_else_to_the_log(tmp_path):
    log = tmp_path / "log"
    terminal = terminal_of(str(log))
    assert terminal[:3] == SHOWN
    assert terminal[3:] and all(line.startswith("file.h5ad: ") for line in terminal[3:])
    assert "4/4" in terminal[-1]
    logged = log.read_text()
    for text in [*SHOWN, "4/4", *NOT_SHOWN]:
        assert logged.count(text) == 1, text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_cannot_be_written_goes_to_the_terminal():
    terminal = "\n".join(terminal_of("/dev/full"))
    for text in [*SHOWN, "4/4", *NOT_SHOWN]:
        assert terminal.count(text) == 1, text


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_what_a_script_imports_is_there(script):
    """Scripts import when their job runs; a name that has moved is found here."""
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("vmm"):
            for name in node.names:
                resolve(f"{node.module}:{name.name}")
