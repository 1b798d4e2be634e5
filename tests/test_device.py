"""Which device is taken: by one probe, with no GPU at hand."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

import vmm.device
from vmm.device import (
    AS_KEY,
    FOUND,
    check_gpu,
    claimed,
    described,
    probe,
    resolve_device,
    takes_gpu,
)
from vmm.errors import InputError

ENVIRONMENT = dict(os.environ)
LISTED = "GPU 0: NVIDIA H100 (UUID: GPU-1)"
TOO_OLD = (
    "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU "
    "driver by downloading and installing a new version"
)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch, tmp_path):
    """Start from a machine without any, whatever this one has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(vmm.device, "TRACES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv(FOUND, raising=False)


@pytest.fixture
def driver(tmp_path):
    """Return a function that puts an `nvidia-smi` on the path."""

    def install(says: str = LISTED, status: int = 0) -> None:
        command = tmp_path / "nvidia-smi"
        command.write_text(f"#!/bin/sh\n[ $1 = -L ] && echo '{says}'\nexit {status}\n")
        command.chmod(0o755)

    return install


def sees(monkeypatch, computed) -> list[torch.device]:
    """Let PyTorch see a GPU; return the devices that were asked to compute."""
    asked = []

    def compute(device):
        asked.append(device)
        if isinstance(computed, Exception):
            raise computed
        return computed

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(vmm.device, "_compute", compute)
    return asked


def test_what_is_computed_is_known():
    assert vmm.device._compute(torch.device("cpu")) == 22.0


def test_without_a_gpu():
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")


NO_GPU = (
    "{} asks for a GPU, but this PyTorch sees no GPU; use {} or {}, or run where an NVIDIA GPU and "
    "a CUDA build of PyTorch are"
)


@pytest.mark.parametrize("spelt", [AS_KEY, "`accelerator='{}'`"])
@pytest.mark.parametrize("device", ["cuda", "gpu"])
def test_a_gpu_that_is_asked_for_and_absent(device, spelt):
    """All that can be written is named as it is written."""
    with pytest.raises(InputError) as caught:
        resolve_device(device, spelt=spelt)
    written = [spelt.format(name) for name in (device, "auto", "cpu")]
    assert str(caught.value) == NO_GPU.format(*written)


@pytest.mark.parametrize("device", ["GPU", "mps", "cuda:1"])
def test_an_unknown_device(device):
    sentence = f"^`device: {device}` is not supported; it must be one of auto, cpu, gpu, cuda$"
    with pytest.raises(InputError, match=sentence):
        resolve_device(device)


def test_a_gpu_that_computes_is_taken(monkeypatch):
    asked = sees(monkeypatch, 22.0)
    assert resolve_device("auto") == torch.device("cuda:0")
    assert resolve_device("cuda", 1) == resolve_device("gpu", 1) == torch.device("cuda:1")
    assert resolve_device("cpu") == torch.device("cpu")
    assert asked == [torch.device("cuda:0"), torch.device("cuda:1"), torch.device("cuda:1")]


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("computed", "reason"),
    [
        (
            RuntimeError("CUDA error: no kernel image is available for execution\nCompile with"),
            "cannot be used: CUDA error: no kernel image is available for execution; see",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "used: CUDA out of memory; see"),
        (float("nan"), "wrongly"),
    ],
)
def test_a_gpu_that_is_seen_but_does_not_compute(device, computed, reason, monkeypatch):
    """An old card, a full one, one of another process: never the CPU in silence."""
    sees(monkeypatch, computed)
    with pytest.raises(InputError, match=reason) as caught:
        resolve_device(device)
    assert "without it by `device: cpu`" in str(caught.value)
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_build_without_cuda_beside_a_gpu(device, driver, monkeypatch):
    """As an environment has it that was solved where there is no GPU."""
    driver()
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(InputError, match=r"used: this PyTorch, \S+, is a build without CUDA; see"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_driver_that_is_too_old(device, driver, monkeypatch):
    driver()

    def init():
        raise RuntimeError(TOO_OLD)

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    with pytest.raises(InputError, match=r"system is too old \(found version 12040\); see"):
        resolve_device(device)


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_a_hidden_gpu_is_none(visible, driver, monkeypatch):
    driver()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert resolve_device("auto") == torch.device("cpu")


@pytest.mark.parametrize(("says", "status"), [("No devices were found", 6), ("failed", 9), ("", 0)])
def test_a_driver_without_a_gpu(says, status, driver):
    """As on a login node."""
    driver(says, status)
    assert resolve_device("auto") == torch.device("cpu")


def test_apples_gpu(monkeypatch):
    """`auto` is the CPU there, as for scvi-tools; asked for, it is refused."""
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("cpu")
    with pytest.raises(InputError, match="Apple's MPS is not supported"):
        resolve_device("cuda")


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_rocm(device, monkeypatch):
    monkeypatch.setattr(torch.version, "hip", "6.4")
    asked = sees(monkeypatch, 22.0)
    with pytest.raises(InputError, match="ROCm is not supported"):
        resolve_device(device)
    assert asked == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_a_device_in_a_line(monkeypatch):
    assert described(torch.device("cpu")) == f"Device: cpu; PyTorch {torch.__version__}"
    properties = SimpleNamespace(name="NVIDIA H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    assert described(torch.device("cuda:1")).startswith("Device: cuda:1, NVIDIA H100, 80 GiB; Py")


def test_what_jobs_ask_for(driver, monkeypatch):
    """The same probe, in a process of its own and once."""
    assert (takes_gpu("cuda"), takes_gpu("cpu"), takes_gpu("auto")) == (True, False, False)
    assert FOUND not in os.environ, "with no trace of a GPU nobody looks"
    driver()
    started = []

    def look(command, **options):
        started.append(command)
        return SimpleNamespace(returncode=0, stdout="cuda\n", stderr="")

    monkeypatch.setattr(vmm.device.subprocess, "run", look)
    assert takes_gpu("auto") and takes_gpu("auto")
    assert started == [[sys.executable, "-m", "vmm.device", "auto"]]


@pytest.mark.skipif(torch.version.cuda is not None, reason="this PyTorch is a build with CUDA")
def test_what_jobs_ask_for_where_the_gpu_cannot_be_used(driver):
    driver()
    with pytest.raises(InputError, match=r"is a build without CUDA; see .* by `device: cpu`$"):
        takes_gpu("auto")


def test_jobs_of_this_machine_without_a_gpu(monkeypatch):
    """Of another environment's PyTorch nothing is known, and the driver's word counts."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    written = ("`device: cuda`", "`device: auto`", "`device: cpu`")
    with pytest.raises(InputError) as caught:
        check_gpu()
    assert str(caught.value) == NO_GPU.format(*written)
    with pytest.raises(InputError) as caught:
        check_gpu(own=False)
    unlisted = NO_GPU.replace("this PyTorch sees no GPU", "NVIDIA's driver lists none here")
    assert str(caught.value) == unlisted.format(*written)


def test_a_gpu_for_the_pytorch_of_another_environment(driver, monkeypatch):
    driver()
    check_gpu(own=False)
    monkeypatch.setattr(vmm.device, "find_spec", lambda name: None)
    check_gpu()


def test_an_environment_without_pytorch(driver, monkeypatch):
    """As that of Snakemake may be, where jobs have one of conda."""
    monkeypatch.setattr(vmm.device, "find_spec", lambda name: None)
    driver()
    assert takes_gpu("auto")
    driver("No devices were found", 6)
    assert not takes_gpu("auto")


def test_probe_tells_apart_what_is_there(driver, monkeypatch):
    assert not probe().there
    driver()
    monkeypatch.setattr(torch.version, "cuda", None)
    assert probe().there


# Several GPUs in one machine: a user's jobs share those that they see

UUIDS = ["GPU-a", "GPU-b", "GPU-c"]


def machine_with(monkeypatch, tmp_path, uuids: list[str]) -> list[torch.device]:
    """Let PyTorch see several GPUs; return those that were asked to compute."""
    asked = sees(monkeypatch, 22.0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(uuids))
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid=uuids[index])
    )
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return asked


def test_jobs_take_different_gpus(monkeypatch, tmp_path):
    """The least used one, and only that is asked to compute: each costs memory."""
    asked = machine_with(monkeypatch, tmp_path, UUIDS)
    with claimed("auto") as first, claimed("cuda") as second:
        assert [first.index, second.index] == [0, 1]
        with claimed("auto") as third, claimed("auto") as fourth, claimed("auto") as fifth:
            assert [third.index, fourth.index, fifth.index] == [2, 0, 1]
        with claimed("auto") as sixth:
            assert sixth.index == 2
        with claimed("cpu") as none:
            assert none == torch.device("cpu")
    with claimed("auto") as again:
        assert again.index == 0
    assert [device.index for device in asked] == [0, 1, 2, 0, 1, 2, 0]


def test_jobs_know_gpus_by_their_names(monkeypatch, tmp_path):
    """What is the first for one process, by CUDA_VISIBLE_DEVICES, may be the second for another."""
    machine_with(monkeypatch, tmp_path, UUIDS[:2])
    with claimed("auto") as first:
        assert first.index == 0
        machine_with(monkeypatch, tmp_path, [UUIDS[1], UUIDS[0]])
        with claimed("auto") as second:
            assert second.index == 0
        machine_with(monkeypatch, tmp_path, UUIDS[2:])
        with claimed("auto") as alone:
            assert alone.index == 0


HOLD = """
import os, signal, sys, tempfile
from vmm.device import _place
tempfile.tempdir = sys.argv[1]
with _place(["GPU-a", "GPU-b"]) as index:
    print(index, flush=True)
    sys.stdin.read()
"""


def test_a_killed_job_holds_no_gpu(monkeypatch, tmp_path):
    """Processes, one of them killed: its place is the next one's."""

    def start() -> subprocess.Popen:
        command = [sys.executable, "-c", HOLD, str(tmp_path)]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
        )

    jobs = [start()]
    try:
        assert jobs[0].stdout.readline() == "0\n"
        jobs.append(start())
        assert jobs[1].stdout.readline() == "1\n"
        jobs[0].kill()
        jobs[0].wait()
        with vmm.device._place(UUIDS[:2]) as index:
            assert index == 0
    finally:
        for job in jobs:
            job.kill()
            job.communicate()


@pytest.mark.parametrize("trouble", ["not a folder", "of another user"])
def test_where_no_lock_can_be_kept(trouble, monkeypatch, tmp_path):
    """Jobs then share the first GPU."""
    machine_with(monkeypatch, tmp_path, UUIDS)
    folder = tmp_path / f"vmm-gpus-{os.getuid()}"
    if trouble == "not a folder":
        folder.touch()
    else:
        folder.mkdir()
        other = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: other)
        (tmp_path / f"vmm-gpus-{os.getuid()}").symlink_to(folder)
    with claimed("auto") as first, claimed("auto") as second:
        assert [first.index, second.index] == [0, 0]


def test_what_is_wrong_with_the_gpu_of_a_job_is_told(monkeypatch, tmp_path):
    machine_with(monkeypatch, tmp_path, UUIDS[:2])
    sees(monkeypatch, RuntimeError("CUDA out of memory. Tried"))
    with (
        pytest.raises(InputError, match=r"used: CUDA out of memory; .* by `device: cpu`"),
        claimed("auto"),
    ):
        pass
