"""How much memory there is, and files for what does not fit into it."""

from __future__ import annotations

import numpy as np
import pytest

from vmm import memory
from vmm.errors import InputError


def test_a_limit_of_the_process_counts(tmp_path, monkeypatch):
    """Of a job of Slurm or a container, as the kernel writes it: with what it can take back."""
    inner = tmp_path / "slurm" / "job"
    inner.mkdir(parents=True)
    for folder, most, used, cached in ((tmp_path / "slurm", "9000", 6000, 0), (inner, "max", 0, 0)):
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    monkeypatch.setattr(memory, "_own_group", lambda: "slurm/job")
    assert memory._left_to_group(tmp_path) == 3000
    (inner / "memory.max").write_text("2000\n")
    (inner / "memory.current").write_text("1500\n")
    (inner / "memory.stat").write_text("inactive_file 1000\n")
    assert memory._left_to_group(tmp_path) == 1500
    (inner / "memory.max").write_text("nonsense\n")
    assert memory._left_to_group(tmp_path) is None


def test_free_memory_is_known_or_without_limit(monkeypatch):
    assert memory.free_memory() > 0
    for name in ("_available", "_left_to_group"):
        monkeypatch.setattr(memory, name, lambda: None)
    assert memory.free_memory() == float("inf")


def test_half_of_what_is_free_may_be_taken(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda device: 100.0)
    assert memory.fits(50) and not memory.fits(51)


def test_a_file_that_has_no_room_is_refused_before_it_is_written():
    with pytest.raises(InputError, match=r"take 1000000000.0 GB of disk, and /.* TMPDIR name a"):
        memory.scratch(1e18)
    with memory.scratch(10) as file:
        assert not isinstance(file.name, str)


def test_a_disk_that_becomes_full_is_told():
    with (
        open("/dev/full", "r+b", buffering=0) as file,
        pytest.raises(
            InputError, match=r"cannot be written to /.* .TMPDIR names .*: No space left"
        ),
    ):
        memory.write(file, np.ones(3))
