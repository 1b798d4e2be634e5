"""Where to compute.

Whether a GPU is taken is decided here alone: for trainings, `vmm fit`, `vmm.SCVI` and what jobs of
the pipeline ask for. PyTorch is imported by the functions that use it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from vmm.errors import InputError

if TYPE_CHECKING:
    import torch

DEVICES = {"auto": "auto", "cpu": "cpu", "gpu": "cuda", "cuda": "cuda"}
"""What a device may be called, as in scvi-tools, and what PyTorch calls it."""
AS_KEY = "`device: {}`"
"""How a user names a device: a key of the configuration, or an option of the command line."""
TRACES = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg", "/dev/kfd")
"""What drivers of NVIDIA (on Linux, on Windows' Linux) and AMD leave where there is a GPU."""
FOUND = "VMM_FOUND_DEVICE"
"""Variable of the environment by which processes of a pipeline tell others what was found."""


@dataclass(frozen=True)
class Probe:
    """What was found out about a GPU.

    Attributes
    ----------
    trouble : str, optional
        Why it cannot be used; None if it computes.
    there : bool
        Whether there is one, usable or not, that a user would expect to be taken.
    """

    trouble: str | None
    there: bool = True


def probe(index: int = 0) -> Probe:
    """Let a GPU compute something, and say whether it could.

    That PyTorch sees a GPU does not mean that it has kernels for it, nor that the GPU is free; and
    that it sees none does not mean that there is none.
    """
    import torch

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        seen = torch.cuda.is_available()
        if torch.version.hip is not None:
            return Probe("ROCm is not supported, only NVIDIA's GPUs are", there=seen)
        if seen:
            try:
                right = _compute(torch.device("cuda", index)) == 22.0
            except (RuntimeError, AssertionError) as error:
                return Probe(_sentence(error))
            return Probe(None if right else "it computes 0·2 + 1·2 and the like wrongly")
    if nvidia_gpu_listed():
        return Probe(_why_unseen([str(warning.message) for warning in told]))
    if torch.backends.mps.is_available():
        return Probe("Apple's MPS is not supported, which lacks double precision", there=False)
    return Probe("this PyTorch sees no GPU", there=False)


def _compute(device: torch.device) -> float:
    import torch

    matrix = torch.arange(4.0, device=device).view(2, 2)
    return float((matrix @ matrix).double().sum())


def _why_unseen(told: list[str]) -> str:
    """Return why PyTorch does not see a GPU that is there."""
    import torch

    if torch.version.cuda is None:
        return f"this PyTorch, {torch.__version__}, is a build without CUDA"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return _sentence(error)
    return _sentence(told[0]) if told else "PyTorch does not say why"


def _sentence(error: object) -> str:
    """Return the first sentence of an error of PyTorch's."""
    line = str(error).strip().partition("\n")[0]
    return line.partition(". ")[0].removesuffix(".") or type(error).__name__


def nvidia_gpu_listed() -> bool:
    """Whether NVIDIA's driver lists a GPU, and it is not hidden from this process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return False
    command = shutil.which("nvidia-smi")
    if command is None:
        return False
    try:
        listed = subprocess.run(
            [command, "-L"], capture_output=True, text=True, errors="replace", timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU " in listed.stdout


def resolve_device(device: str = "auto", index: int = 0, spelt: str = AS_KEY) -> torch.device:
    """Return the device for "auto" (a GPU if there is one), "cpu", or "gpu", also called "cuda".

    Parameters
    ----------
    device : {"auto", "cpu", "gpu", "cuda"}
    index : int
        Which of the visible GPUs.
    spelt : str
        How a user writes a device, ``{}``, for messages.

    Raises
    ------
    InputError
        If a GPU is asked for and absent, if there is one that cannot be used, or if the name is
        unknown: never a silent fallback.
    """
    import torch

    if device not in DEVICES:
        known = ", ".join(DEVICES)
        raise InputError(f"{spelt.format(device)} is not supported; it must be one of {known}")
    if device == "cpu":
        return torch.device("cpu")
    found = probe(index)
    if found.trouble is None:
        return torch.device("cuda", index)
    if found.there:
        raise InputError(
            f"there is a GPU, but it cannot be used: {found.trouble}; see docs/install.md, or "
            f"compute without it by {spelt.format('cpu')}"
        )
    if device != "auto":
        raise _absent(device, found.trouble, spelt)
    return torch.device("cpu")


def _absent(device: str, trouble: str, spelt: str = AS_KEY) -> InputError:
    """Say that a GPU is asked for that is not there."""
    written, auto, cpu = (spelt.format(name) for name in (device, "auto", "cpu"))
    return InputError(
        f"{written} asks for a GPU, but {trouble}; use {auto} or {cpu}, or run where an NVIDIA GPU "
        "and a CUDA build of PyTorch are"
    )


@contextmanager
def claimed(device: str = "auto") -> Iterator[torch.device]:
    """Take a device for the block: of several GPUs one that the fewest jobs of this user have.

    Each GPU has places, which are files that a process locks; the first place of any GPU is taken
    before the second of another. A lock goes with its process, however that ends. Where each job is
    given a GPU of its own, as by Slurm, there is nothing to choose from.

    Parameters
    ----------
    device
        As for :func:`resolve_device`.

    Raises
    ------
    InputError
        As :func:`resolve_device`.
    """
    import torch

    # Only the one that is taken is asked to compute: that costs memory on each.
    number = torch.cuda.device_count() if device != "cpu" and _seen() else 0
    choice = _place([_name(i) for i in range(number)]) if number > 1 else nullcontext(0)
    with choice as index:
        where = resolve_device(device, index)
        # What names no GPU means the current one: a recording, or a library.
        with torch.cuda.device(where) if where.type == "cuda" else nullcontext():
            yield where


def _seen() -> bool:
    """Whether PyTorch sees a GPU; :func:`probe` says why not."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.cuda.is_available() and torch.version.hip is None


def _name(index: int) -> str:
    """Return what a GPU is called by all processes, whichever of them they see."""
    import torch

    return str(getattr(torch.cuda.get_device_properties(index), "uuid", index))


@contextmanager
def _place(names: Sequence[str]) -> Iterator[int]:
    """Lock a place; yield the position of its GPU among `names`."""
    folder = Path(tempfile.gettempdir(), f"vmm-gpus-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(folder)
        lock, index = _lock_first(folder, names)
    except OSError:  # nowhere to keep locks: jobs then share the first
        yield 0
        return
    try:
        yield index
    finally:
        os.close(lock)


def _lock_first(folder: Path, names: Sequence[str]) -> tuple[int, int]:
    """Lock the first place that is free; return the open file and the position of its GPU."""
    from fcntl import LOCK_EX, LOCK_NB, flock

    for place in count():
        for index, name in enumerate(names):
            file = os.open(folder / f"{name}.{place}", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except BlockingIOError:
                os.close(file)
            except OSError:
                os.close(file)
                raise
            else:
                return file, index
    raise AssertionError("there is always another place")


def described(device: torch.device) -> str:
    """Return a device and what computes on it in a line, for logs."""
    import torch

    name = str(device)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name += f", {properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    return f"Device: {name}; PyTorch {torch.__version__}"


def takes_gpu(device: str) -> bool:
    """Whether a job with this device will take a GPU of this machine.

    Where this environment has no PyTorch (that of the jobs has), traces of a driver count; the jobs
    look again.

    Raises
    ------
    InputError
        If there is a GPU that cannot be used.
    """
    if device != "auto":
        return device == "cuda"
    if shutil.which("nvidia-smi") is None and not any(Path(trace).exists() for trace in TRACES):
        return False
    if find_spec("torch") is None:
        return nvidia_gpu_listed()
    if FOUND not in os.environ:
        os.environ[FOUND] = _looked_for("auto")
    return os.environ[FOUND] == "cuda"


def check_gpu(own: bool = True) -> None:
    """Refuse to start jobs with ``device: cuda`` on a machine that has no GPU for them.

    Parameters
    ----------
    own : bool
        Whether jobs have the PyTorch of this environment. Of another nothing is known: a GPU that
        the driver lists is enough.

    Raises
    ------
    InputError
        If there is none, or, as far as is known, none that can be used.
    """
    if own and find_spec("torch") is not None:
        _looked_for("cuda")
    elif not nvidia_gpu_listed():
        raise _absent("cuda", "NVIDIA's driver lists none here")


def _looked_for(device: str) -> str:
    """Return the type of the device that a job of this environment takes.

    Another process looks: the first use of a GPU takes some hundred MB of its memory until the
    process ends.
    """
    source = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    looked = subprocess.run(
        [sys.executable, "-m", "vmm.device", device],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONPATH": path},
    )
    if looked.returncode:
        said = looked.stderr.strip().splitlines()
        raise InputError(said[-1] if said else "looking for a GPU ended without a word")
    return looked.stdout.strip()


if __name__ == "__main__":
    try:
        print(resolve_device(sys.argv[1]).type)
    except InputError as error:
        sys.exit(str(error))
