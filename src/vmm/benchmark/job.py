"""One model, or embedding, of the grid: its name in folders and in rows of metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from vmm.benchmark.methods.records import METHODS, Method
from vmm.benchmark.setting import Setting

JOB_COLUMNS = ["dataset", "model", "prior", "setting", "trial"]
"""What names a job in rows of metrics."""


@dataclass(frozen=True, order=True)
class Job:
    """One model (or embedding) of the grid.

    Attributes
    ----------
    kind : {"images", "cells"}
    dataset, method : str
        `method` is a key of ``METHODS[kind]``.
    setting : Setting
    trial : int
    library : str
        The model of scvi-tools that the data set's methods are trained in; "": ours.
    """

    kind: str
    dataset: str
    method: str
    setting: Setting
    trial: int
    library: str = ""

    @property
    def record(self) -> Method:
        """The record of its method, in the model of its data set."""
        return METHODS[self.kind][self.method].of_library(self.library)

    @property
    def model(self) -> str:
        """Name of the model in rows of metrics."""
        return self.record.model

    @property
    def prior(self) -> str:
        """Name of the prior in rows of metrics."""
        return self.record.prior

    @property
    def folder(self) -> str:
        """The job's folder, relative to that of the run."""
        return model_folder(self.dataset, self.method, self.setting, self.trial)

    @property
    def row(self) -> dict[str, Any]:
        """What names the job in rows of metrics, by :data:`JOB_COLUMNS`."""
        values = (self.dataset, self.model, self.prior, str(self.setting), self.trial)
        return dict(zip(JOB_COLUMNS, values, strict=True))


def model_folder(dataset: str, method: str, setting: Setting | str, trial: int | str) -> str:
    """Return the folder of a model, relative to that of the run."""
    return f"models/{dataset}/{method}/{setting}/trial_{trial}"
