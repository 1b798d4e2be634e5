"""Trainings written to a file between epochs, and continued from it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch

from vmm.errors import InputError
from vmm.progress import say
from vmm.tensor_files import read_tensors, write_tensors
from vmm.training.settings import Row


class Resumable(Protocol):
    """A training that can be written down and continued."""

    history: list[Row]

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What a state must agree with to be continued from."""

    def state(self) -> dict[str, Any]:
        """Return everything that is needed to continue."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state."""


def save_checkpoint(trainers: Sequence[Resumable], path: Path) -> None:
    """Write a checkpoint of trainings, whole or not at all."""
    fingerprints = [trainer.fingerprint for trainer in trainers]
    states = [trainer.state() for trainer in trainers]
    write_tensors(path, {"fingerprint": fingerprints, "trainings": states})


def resume(trainers: Sequence[Resumable], path: Path, device: torch.device) -> None:
    """Continue from `path` if it holds a checkpoint of these very trainings, on this device."""
    fingerprint = [trainer.fingerprint for trainer in trainers]
    saved = read_checkpoint(path, fingerprint, device)
    if saved is None:
        return
    for trainer, state in zip(trainers, saved["trainings"], strict=True):
        trainer.restore(state)
    epochs = max(len(trainer.history) for trainer in trainers)
    say(f"{path}: resumed after epoch {epochs}")


def read_checkpoint(path: Path, fingerprint: list[dict[str, Any]], device) -> dict[str, Any] | None:
    """Return the checkpoint, or None if there is none or (with a warning) it is not usable.

    Parameters
    ----------
    path : path
    fingerprint : list of dict
        Of the trainings that want it.
    device : torch.device
        Where its tensors go.
    """
    if not path.exists():
        return None
    try:
        saved = read_tensors(path, device)
    except InputError as error:
        reason = str(error.__cause__).partition("\n")[0]
    else:
        found: Any = saved.get("fingerprint") if isinstance(saved, dict) else None
        if _same(found, fingerprint):
            return saved
        reason = "it is of another training"
        if _same(found, fingerprint, apart_from="device"):
            devices = [one[0]["device"] for one in (found, fingerprint)]
            reason = "it was written on {}, and this is {}".format(*devices)
    warnings.warn(f"{path}: checkpoint not used, training starts anew; {reason}", stacklevel=4)
    return None


def _same(saved: Any, own: list[dict[str, Any]], apart_from: str = "") -> bool:
    """Return whether fingerprints agree; of switches that it is older than, a file says nothing.

    Parameters
    ----------
    saved, own
        A fingerprint for each training.
    apart_from : str
        What both have, and may differ.
    """
    if not isinstance(saved, list) or len(saved) != len(own):
        return False
    filled = [
        {
            **one,
            "switches": other["switches"] | one.get("switches", {}),
            **({apart_from: other[apart_from]} if apart_from in one else {}),
        }
        for one, other in zip(saved, own, strict=True)
    ]
    return filled == own
