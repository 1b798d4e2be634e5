"""What people read for data sets and methods: the labels of their records."""

from __future__ import annotations

from vmm.benchmark.methods.records import method_of
from vmm.benchmark.setting import CHOSEN, LEIDEN, Setting

DATASET_LABELS = {
    "mnist": "MNIST",
    "fashion_mnist": "Fashion-MNIST",
    "digits": "Digits",
    "pbmc": "PBMC",
    "lung_atlas": "lung atlas",
    "split_seq": "SPLiT-seq",
}


def dataset_label(name: str) -> str:
    """Return the name of a data set as it is printed."""
    return DATASET_LABELS.get(name, name)


def method_label(model: str, prior: str, setting: str = "") -> str:
    """Return what stands for a method that rows of metrics call by this model and prior.

    Parameters
    ----------
    model, prior : str
    setting : str, optional
        Printed too where it is none that every method has.
    """
    try:
        label = method_of(model, prior).label
    except KeyError:
        label = model if prior in ("", "none") else f"{model} {prior}"
    if setting == str(LEIDEN):
        return f"Leiden on {label}"
    return label if setting in ("", str(CHOSEN)) else f"{label} {setting}"


def is_embedding(model: str, prior: str) -> bool:
    """Whether a method embeds cells without training."""
    try:
        return not method_of(model, prior).trains
    except KeyError:
        return prior == "none"


def is_tuning(setting: str) -> bool:
    """Whether a row or model is one of those that tuning compares."""
    return Setting.parse(setting).is_tuning
