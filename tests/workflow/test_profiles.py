"""The profiles: what they set, and what a cluster is asked for."""

from __future__ import annotations

import math
import re

import pytest
import torch
import working_copy
import yaml
from snakemake.cli import parse_args
from working_copy import ROOT

LOCAL = {"all", "split", "choose", "gather"}


def settings(monkeypatch, *arguments: str):
    """Return what Snakemake makes of a command line and profiles."""
    monkeypatch.chdir(ROOT)
    return parse_args(["--configfile", "config/demo.yaml", *arguments])[1]


def test_gpus_are_limited_on_one_machine_only(monkeypatch):
    """The workflow's profile wins over --profile, which could not lift its limit."""
    local = settings(monkeypatch, "--cores", "all")
    assert {name: limit.value for name, limit in local.resources.items()} == {"gpu": 1}
    assert settings(monkeypatch, "--workflow-profile", "profiles/slurm").resources == {}


def test_partition_and_account_come_from_a_profile_of_the_user(monkeypatch, tmp_path):
    """Whose other settings stay too; the workflow's profile has the last word on its own keys."""
    mine = {"default-resources": ["slurm_partition=gpu"], "slurm-status-command": "squeue"}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(mine | {"retries": 0}))
    both = ["--profile", str(tmp_path), "--workflow-profile", "profiles/slurm"]
    args = settings(monkeypatch, *both)
    assert args.default_resources["slurm_partition"].raw == "gpu"
    assert args.slurm_status_command == "squeue"
    assert (args.executor, args.retries, args.slurm_requeue) == ("slurm", 2, True)


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("cpu", 0)])
def test_jobs_ask_for_memory_time_and_gpus(project, device, gpus):
    """Every job that goes to the cluster says how much; those of one kind ask for a GPU."""
    config = yaml.safe_load((ROOT / "tests" / "workflow" / "tiny.yaml").read_text())
    name = project.configure(config | {"device": device})
    done = project.snakemake("-n", "--workflow-profile", "profiles/slurm", configfile=name)
    assert done.status == 0, done.text
    jobs = re.findall(r"^(?:local)?rule (\w+):\n((?:    .*\n)+)", done.text, re.MULTILINE)
    asked = {(rule, re.search(r"resources: (.*)", text)[1]) for rule, text in jobs}
    assert {rule for rule, _ in asked} >= {"prepare", "train_cells", "tune", "report", "gather"}
    for rule, resources in asked:
        wanted = {"mem_mb", "runtime"} if rule not in LOCAL else set()
        assert wanted <= set(re.findall(r"(\w+)=", resources)), (rule, resources)
    with_gpu = {rule for rule, resources in asked if re.search(r"\bgpu=1\b", resources)}
    trained = {"train_cells", "train_images", "tune", "evaluate_elbo_surgery", "samples"}
    assert with_gpu == (trained if gpus else set())


def test_time_follows_from_cells_and_epochs(project):
    """Of data that are not here yet: 50 000 cells × 2 000 genes, and two trials at once.

    An epoch of them takes 6.5 s; 1 000 epochs of patience after the best, which is the 26th.
    """
    config = yaml.safe_load((ROOT / "tests" / "workflow" / "tiny.yaml").read_text())
    config["trials_at_once"] = True
    config["experiments"]["cells"] |= {"max_epochs": 10_000, "patience": 1000}
    arguments = "-n", "--workflow-profile", "profiles/slurm"
    done = project.snakemake(*arguments, configfile=project.configure(config))
    assert done.status == 0, done.text
    texts = re.findall(r"^rule train_cells:\n((?:    .*\n)+)", done.text, re.MULTILINE)
    minutes = {int(re.search(r"runtime=(\d+)", text)[1]) for text in texts}
    assert minutes == {math.ceil(4 * 2 * 1026 * 6.5 / 60)}
    assert "Longest time that a job may take: 15 h, train of pbmc68k" in done.text
    assert re.search(r"^Largest memory of a job: \d+ GB, baselines of pbmc68k", done.text, re.M)


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is a build with CUDA")
def test_a_gpu_that_cannot_be_used_is_told_before_anything_runs(project, tmp_path, monkeypatch):
    """With `device: auto` too, instead of days of training on the CPU."""
    command = tmp_path / "nvidia-smi"
    command.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100 (UUID: GPU-1)'\n")
    command.chmod(0o755)
    path = f"{tmp_path}:{working_copy.ENVIRONMENT['PATH']}"
    monkeypatch.setitem(working_copy.ENVIRONMENT, "PATH", path)
    config = yaml.safe_load((ROOT / "tests" / "workflow" / "tiny.yaml").read_text())
    done = project.snakemake("-n", configfile=project.configure(config | {"device": "auto"}))
    assert done.status == 1, done.text
    (said,) = [line for line in done.text.splitlines() if "there is a GPU" in line]
    assert "a build without CUDA" in said and said.endswith("compute without it by `device: cpu`")
