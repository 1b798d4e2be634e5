"""Jobs in conda environments, as far as that can be seen without conda and its channels.

A stand-in makes an environment of nothing but a Python. What comes into it then is the project's
own doing, and Snakemake's: the packages of the lock, by pip. Unproven is that the channel has
Python, pip and a compiler.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from locks import differing
from working_copy import ENVIRONMENT, ROOT, Project

CONDA = """\
#!/bin/sh
# What Snakemake asks of conda.
set -e
case "$1 $2" in
  "--version ") echo "conda 25.1.0" ;;
  "info --json") echo '{"conda_prefix": "BASE", "platform": "linux-64"}' ;;
  "config --get") echo '{"get": {"channel_priority": "strict"}}' ;;
  "env create")
    while [ "$1" != --prefix ]; do shift; done
    MAKE
    ;;
  "clean -y") ;;
  *) echo "unknown: $*" >&2; exit 2 ;;
esac
"""
PYTHON_AND_PIP = f'"{sys.executable}" -m venv "$2"'
# Its pip finds all packages of the lock there already, so that nothing is downloaded.
WITH_OUR_PACKAGES = f"""\
"{sys.executable}" -m venv --without-pip "$2"
    echo "{sysconfig.get_paths()["purelib"]}" > "$(echo "$2"/lib/python*/site-packages)/main.pth"
"""
ACTIVATE = """\
export PATH="$1/bin:$PATH"
echo "$(basename "$1") ${PYTHONPATH-unset}" >> "$CONDA_ACTIVATIONS"
"""
TABLE = "results/small/tables/table2.csv"


@pytest.fixture
def conda(request, tmp_path: Path, monkeypatch) -> Path:
    """Put the stand-in on the path; return the file that says what was activated."""
    base = tmp_path / "base"
    (base / "bin").mkdir(parents=True)
    text = CONDA.replace("BASE", str(base)).replace("MAKE", request.param)
    (base / "bin" / "conda").write_text(text)
    (base / "bin" / "conda").chmod(0o755)
    (base / "bin" / "activate").write_text(ACTIVATE)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{base / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setitem(ENVIRONMENT, "PYTHONPATH", str(tmp_path / "nowhere"))
    monkeypatch.setitem(ENVIRONMENT, "CONDA_ACTIVATIONS", str(tmp_path / "activations"))
    return tmp_path / "activations"


def only_environment(project: Project, activations: Path) -> Path:
    """Return the environment in which all jobs ran: neither with vmm nor with a PYTHONPATH."""
    (made,) = (project.folder / ".snakemake/conda").glob("*_")
    envs = ROOT / "envs"
    assert made.with_suffix(".yaml").read_text() == (envs / "vmm.yaml").read_text()
    deployed = made.with_name(made.name + ".post-deploy.sh")
    assert deployed.read_text() == (envs / "vmm.post-deploy.sh").read_text()
    activated = [line.split() for line in activations.read_text().splitlines()]
    assert len(activated) > 3 and {name for name, _ in activated} == {made.name}
    # That of the script that fills the environment is the user's, as whatever pip may need is.
    assert {path for _, path in activated[1:]} == {"unset"}
    command = [made / "bin" / "python", "-c", "import torch, snakemake; import vmm"]
    found = subprocess.run(command, cwd=made, env={}, capture_output=True, text=True)
    assert "No module named 'vmm'" in found.stderr
    return made


@pytest.mark.parametrize("conda", [WITH_OUR_PACKAGES], indirect=True, ids=["ours"])
def test_jobs_find_the_package_in_environments_without_it(project, conda):
    """From data to table; PYTHONPATH is not what helps."""
    if differing():
        pytest.skip(f"not the versions of the lock are installed here: {differing()}")
    digits = {"n_subset": 200, "n_latent": 3, "hidden": [16], "batch_size": 32}
    length = {"methods": ["vmm"], "max_epochs": 2}
    config = {"run": "small", "device": "cpu", "trials": 1, "n_components": 8}
    config |= {"datasets": {"digits": digits}, "experiments": {"image_clustering": length}}
    name = project.configure(config)
    done = project.snakemake(TABLE, "--cores", "1", "--use-conda", configfile=name)
    assert done.status == 0, done.text
    only_environment(project, conda)


@pytest.mark.conda
@pytest.mark.parametrize("conda", [PYTHON_AND_PIP], indirect=True, ids=["made"])
def test_a_run_in_an_environment_made_for_it(project, conda, tmp_path):
    """Every rule, in another working directory: pip installs 2.5 GB from the package index."""
    project.configure((ROOT / "tests" / "workflow" / "tiny.yaml").read_text())
    arguments = ("--cores", "2", "--use-conda", "--directory", str(tmp_path / "elsewhere"))
    config = ("--config", "trials=1")
    done = project.snakemake(*arguments, *config, configfile=str(project.folder / "my.yaml"))
    assert done.status == 0, done.text
    project.folder = tmp_path / "elsewhere"
    made = only_environment(project, conda)
    pip = [made / "bin" / "python", "-m", "pip", "list", "--format", "freeze"]
    installed = subprocess.run(pip, capture_output=True, text=True, check=True).stdout
    assert len(installed.splitlines()) > 200
    assert (tmp_path / "elsewhere" / "results" / "tiny" / "report.html").exists()


@pytest.mark.parametrize("conda", [PYTHON_AND_PIP], indirect=True, ids=["none"])
def test_what_the_lock_lacks_is_in_an_environment_of_its_own(project, conda):
    """So it is not refused where it is absent, and is made for the methods that need it alone."""
    digits = {"n_subset": 200, "n_latent": 3, "hidden": [16], "batch_size": 32}
    config = {"run": "small", "device": "cpu", "trials": 1, "datasets": {"digits": digits}}
    config |= {"experiments": {"image_clustering": {"methods": ["vade", "dec"], "max_epochs": 2}}}
    name = project.configure(config)
    listed = project.snakemake("--list-conda-envs", "--use-conda", configfile=name)
    assert listed.status == 0, listed.text
    assert "envs/vmm.yaml" in listed.text and "envs/clustpy.yaml" in listed.text
    without = project.configure(
        config | {"experiments": {"image_clustering": {"methods": ["vade"], "max_epochs": 2}}}
    )
    listed = project.snakemake("--list-conda-envs", "--use-conda", configfile=without)
    assert "envs/vmm.yaml" in listed.text and "envs/clustpy.yaml" not in listed.text
