"""A small disk of its own, to be filled up or made read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Disk:
    """A mounted tmpfs; needs root."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.filler = folder / "filler"

    def fill(self, leave: int = 0) -> None:
        """Use up all space but `leave` KiB."""
        with self.filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(1024))
            except OSError:
                file.truncate(max(0, file.tell() // 4096 * 4096 - 1024 * leave))

    def free(self) -> None:
        """Give the space back."""
        self.filler.unlink()

    def make(self, mode: str) -> None:
        """Mount anew as "ro" or "rw"."""
        subprocess.run(["mount", "-o", f"remount,{mode}", self.folder], check=True)

    def files(self) -> list[str]:
        """Return all files but the filler."""
        paths = (path for path in self.folder.rglob("*") if path.is_file() and path != self.filler)
        return sorted(str(path.relative_to(self.folder)) for path in paths)


@contextmanager
def mounted(folder: Path, kib: int) -> Iterator[Disk]:
    """Mount a disk of some KiB at a folder; skip the test where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no mount on this machine")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
