"""Jobs in conda environments, as far as that can be seen without conda and its channels.

A stand-in makes an environment of nothing but Python and the packages of the main one, without
vmm. It shows what Snakemake does with `--use-conda`, not that the channels have the packages.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from working_copy import ENVIRONMENT, Project

CONDA = f"""\
#!/bin/sh
# What Snakemake asks of conda.
set -e
case "$1 $2" in
  "--version ") echo "conda 25.1.0" ;;
  "info --json") echo '{{"conda_prefix": "{{base}}", "platform": "linux-64"}}' ;;
  "config --get") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
  "env create")
    while [ "$1" != --prefix ]; do shift; done
    "{sys.executable}" -m venv --without-pip "$2"
    echo "{sysconfig.get_paths()["purelib"]}" > "$(echo "$2"/lib/python*/site-packages)/main.pth"
    ;;
  "clean -y") ;;
  *) echo "unknown: $*" >&2; exit 2 ;;
esac
"""
ACTIVATE = """\
export PATH="$1/bin:$PATH"
echo "$(basename "$1") ${PYTHONPATH-unset}" >> "$CONDA_ACTIVATIONS"
"""
TABLE = "results/small/tables/table2.csv"


@pytest.fixture
def conda(project: Project, tmp_path: Path, monkeypatch) -> Path:
    """Put the stand-in on the path; return the file that says what was activated."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    (base / "bin" / "conda").write_text(CONDA.replace("{base}", str(base)))
    (base / "bin" / "conda").chmod(0o755)
    (base / "bin" / "activate").write_text(ACTIVATE)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{base / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path / "nowhere"))
    monkeypatch.setitem(ENVIRONMENT, "CONDA_ACTIVATIONS", str(tmp_path / "activations"))
    return tmp_path / "activations"


def test_jobs_find_the_package_in_environments_without_it(project, conda):
    """From data to table, through every environment; PYTHONPATH is not what helps."""
    digits = {"n_subset": 200, "n_latent": 3, "hidden": [16], "batch_size": 32}
    length = {"methods": ["vmm"], "max_epochs": 2}
    config = {"run": "small", "device": "cpu", "trials": 1, "n_components": 8}
    config |= {"datasets": {"digits": digits}, "experiments": {"image_clustering": length}}
    name = project.configure(config)
    done = project.snakemake(TABLE, "--cores", "1", "--use-conda", configfile=name)
    assert done.status == 0, done.text

    made = {path.name: path for path in (project.folder / ".snakemake/conda").glob("*_")}
    texts = {path.with_suffix(".yaml").read_text() for path in made.values()}
    assert texts == {path.read_text() for path in (project.folder / "envs").glob("*.yaml")}
    activated = [line.split() for line in conda.read_text().splitlines()]
    assert {name for name, _ in activated} == made.keys()
    assert {path for _, path in activated} == {"unset"}
    for folder in made.values():
        command = [folder / "bin" / "python", "-c", "import torch, snakemake; import vmm"]
        found = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True)
        assert "No module named 'vmm'" in found.stderr
