"""What people read for data sets and methods: the labels of their records."""

from __future__ import annotations

from vmm.benchmark.methods.records import method_of
from vmm.benchmark.setting import CHOSEN, LEIDEN
from vmm.data.sources.records import SOURCES


def dataset_label(name: str) -> str:
    """Return the name of a data set as it is printed."""
    return SOURCES[name].label if name in SOURCES else name


def method_label(model: str, prior: str, setting: str = "") -> str:
    """Return what stands for a method that rows of metrics call by this model and prior.

    Its setting is printed too where it is none that every method has.
    """
    try:
        label = method_of(model, prior).label
    except KeyError:
        label = model if prior in ("", "none") else f"{model} {prior}"
    if setting == str(LEIDEN):
        return f"Leiden on {label}"
    return label if setting in ("", str(CHOSEN)) else f"{label} {setting}"


def told_labels(model: str, prior: str) -> bool:
    """Whether a method was trained with the labels that it is scored against."""
    try:
        return method_of(model, prior).told_labels
    except KeyError:
        return False


def is_embedding(model: str, prior: str) -> bool:
    """Whether a method embeds cells without training."""
    try:
        return not method_of(model, prior).trains
    except KeyError:
        return prior == "none"
