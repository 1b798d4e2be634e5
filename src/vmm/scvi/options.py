"""Arguments of scvi-tools that are not ours: taken where they change nothing, else refused."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from scvi.model._utils import parse_device_args

from vmm.device import resolve_device
from vmm.errors import InputError
from vmm.numerics.products import Precision
from vmm.priors.records import priors_of

CELL_PRIORS = priors_of("cells")
"""What `prior` accepts."""
ANYTHING = object()
"""Stands for any value: of what is only shown, or has no effect on results."""

Table = Mapping[str, tuple[tuple[Any, ...], str]]
"""Argument, the values that are taken, and why others are not and what to do instead."""

SHOWN = ((ANYTHING,), "")

LATER = "`model.history` has all epochs, to be logged after the training"
TRAIN: Table = {
    "shuffle_set_split": ((True,), "cells are split at random, by the `seed` of vmm.SCVI"),
    "early_stopping_monitor": (("elbo_validation",), "only the ELBO of validation cells can stop"),
    "early_stopping_mode": (("min",), "the best ELBO is kept"),
    "early_stopping_min_delta": ((0,), "any better ELBO counts; use `early_stopping_patience`"),
    "early_stopping_warmup_epochs": ((0, None), "use a larger `early_stopping_patience`"),
    "check_val_every_n_epoch": (
        (None, 1),
        "vmm validates after every epoch, since the best one is kept; leave it out",
    ),
    "logger": ((None, False, True), LATER),
    "log_save_dir": ((None,), LATER),
    "learning_rate_monitor": ((False, None), "the learning rate is constant"),
    "default_root_dir": ((None,), "nothing is written in training; use `model.save`"),
    "enable_checkpointing": ((False, None), "the best epoch is kept anyway; use `model.save`"),
    "checkpointing_monitor": SHOWN,
    "callbacks": ((None, [], ()), "vmm.SCVI has its own training loop, without Lightning"),
    "strategy": (("auto", None), "a model is trained on one device"),
    "num_nodes": ((1,), "a model is trained on one device"),
    "gradient_clip_val": ((None, 0), "gradients are not clipped; use a lower `learning_rate`"),
    "accumulate_grad_batches": ((None, 1), "use a larger `batch_size`"),
    "deterministic": SHOWN,
    "benchmark": SHOWN,
    "load_sparse_tensor": SHOWN,
    "progress_bar_refresh_rate": SHOWN,
    "simple_progress_bar": SHOWN,
    "log_every_n_steps": SHOWN,
    "enable_model_summary": SHOWN,
    "num_sanity_val_steps": SHOWN,
    "datamodule": ((None,), "give vmm.SCVI an AnnData object"),
    "trainer_config": ((None, {}), "give its entries to `train`"),
    "plan_config": ((None, {}), "use `learning_rate` and the other arguments of `train`"),
    "n_epochs": ((), "use `max_epochs`"),
    "lr": ((), "use `learning_rate`"),
    "weight_decay": ((0,), "weights do not decay"),
    "n_epochs_kl_warmup": ((None, 0), "the prior has its full weight from the first epoch"),
    "use_gpu": ((), "use `accelerator='gpu'` or `accelerator='cpu'`"),
    "seed": ((), "give it to vmm.SCVI"),
}
PLAN: Table = {
    "weight_decay": ((0,), "weights do not decay"),
    "n_epochs_kl_warmup": ((None, 0), "the prior has its full weight from the first epoch"),
    "n_steps_kl_warmup": ((None, 0), "the prior has its full weight from the first step"),
    "max_kl_weight": ((1,), "use `prior_learning_ratio` and `batch_size` for the prior's weight"),
    "min_kl_weight": SHOWN,  # of a warm-up
    "optimizer": (("Adam",), "the optimiser is Adam"),
    "eps": ((1e-7,), "Adam's epsilon is 1e-7"),
    "reduce_lr_on_plateau": ((False,), "the learning rate is constant"),
    **dict.fromkeys(["lr_factor", "lr_patience", "lr_threshold", "lr_min"], SHOWN),
    "lr_scheduler_metric": SHOWN,
    "compile": ((False,), "use `cuda_graph=True` on a GPU"),
    "update_only_decoder": ((False,), "encoder, decoder and prior are trained together"),
}
DATA: Table = {
    "drop_last": ((True,), "an incomplete last batch is left out, another one in every epoch"),
    "shuffle_set_split": TRAIN["shuffle_set_split"],
    "external_indexing": ((None,), "cells are split at random; use `validation_size`"),
    **dict.fromkeys(["num_workers", "pin_memory", "persistent_workers", "prefetch_factor"], SHOWN),
    "load_sparse_tensor": SHOWN,
    "shuffle": ((True,), "batches are drawn at random"),
}
MODEL: Table = {
    "latent_distribution": (("normal",), "use `prior` for the distribution of the latent space"),
    "use_observed_lib_size": ((True,), "library sizes are those of the cells"),
    "dropout_rate": ((0.1,), "the dropout rate is 0.1, as in the paper"),
    "use_layer_norm": (("none",), "networks have batch normalisation"),
    "use_batch_norm": (("both",), "networks have batch normalisation"),
    "n_labels": SHOWN,
    "deeply_inject_covariates": ((False,), "batch and covariates enter the first layers"),
}


LIGHTNING: Mapping[Any, Precision] = {
    **dict.fromkeys([32, "32", "32-true"], "float32"),
    "bf16-mixed": "bf16",
}
"""Names of our precisions there."""


def take(options: Mapping[str, Any], table: Table, owner: str, ours: Iterable[str]) -> None:
    """Let pass what means what is done anyway, and refuse the rest.

    Another value of an argument of `table` is a NotImplementedError. One that is not in there is a
    TypeError, which names those of `ours` that it may have been meant for. `owner` is what the
    arguments were given to, for messages.
    """
    for name, value in options.items():
        if name not in table:
            like = difflib.get_close_matches(name, ours, 1, 0.5)
            meant = f"; did you mean `{like[0]}`?" if like else ""
            known = ", ".join(ours)
            raise TypeError(f"{owner} has no argument {name!r}{meant} (it has {known}).")
        taken, advice = table[name]
        if not any(_is(value, good) for good in taken):
            raise NotImplementedError(f"`{name}={value!r}` is not supported by {owner}: {advice}.")


def _is(value: Any, good: Any) -> bool:
    if good is ANYTHING or value is good:
        return True
    return type(good) in (int, float, str, list, dict) and bool(
        isinstance(value, (int, float, str, list, dict)) and value == good
    )


def check_prior(prior: str, prior_kwargs: Mapping[str, Any] | None) -> None:
    """Refuse a prior that cells are not modelled with, and arguments that it does not take."""
    if prior not in CELL_PRIORS:
        raise ValueError(f"`prior` is {prior!r}; it must be one of {', '.join(CELL_PRIORS)}.")
    known = CELL_PRIORS[prior].options_for("cells")
    if unknown := [key for key in prior_kwargs or {} if key not in known]:
        raise ValueError(
            f"`prior_kwargs` has {unknown[0]!r}; the prior {prior!r} takes "
            f"{', '.join(known) or 'none'}."
        )


def plan_rate(plan_kwargs: Any, learning_rate: float, default: float) -> float:
    """Return the learning rate: of `plan_kwargs` or `learning_rate`, which must not differ."""
    plan = _entries(plan_kwargs, "plan_kwargs")
    rate = plan.pop("lr", learning_rate)
    take(plan, PLAN, "plan_kwargs of vmm.SCVI.train", ("lr",))
    if learning_rate not in (default, rate):
        raise InputError(
            f"`learning_rate` is {learning_rate} and `plan_kwargs` has lr={rate}; give one of them."
        )
    return rate


def take_split(datasplitter_kwargs: Any) -> None:
    """Check `datasplitter_kwargs`, which changes nothing here."""
    entries = _entries(datasplitter_kwargs, "datasplitter_kwargs")
    take(entries, DATA, "datasplitter_kwargs of vmm.SCVI.train", ("drop_last",))


def device_of(accelerator: str, devices: int | list[int] | str) -> torch.device:
    """Return the device that is meant, of those that scvi-tools knows."""
    spelt = "`accelerator='{}'`"
    kind = resolve_device(accelerator, spelt=spelt).type
    try:
        device = parse_device_args(
            kind, devices, return_device="torch", validate_single_device=True
        )[2]
    except MisconfigurationException as error:
        raise InputError(f"`devices={devices!r}` is not available here ({error})") from error
    return resolve_device(kind, device.index or 0, spelt)


def _entries(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value or {}, Mapping):
        raise InputError(f"`{name}` is of type {type(value).__name__}; it must be a dict or None.")
    return dict(value or {})


def part_to_validate(train_size: float | None, validation_size: float | None) -> float:
    """Return the part of the cells kept for validation; the two must add up to all cells."""
    given = {"train_size": train_size, "validation_size": validation_size}
    for name, value in given.items():
        if value is not None and not 0 < number(value, name) < 1:
            raise InputError(
                f"`{name}` is {value}; it must lie between 0 and 1: there must be cells to train "
                "and cells to validate on."
            )
    if train_size is None:
        return 0.1 if validation_size is None else validation_size
    if validation_size is not None and abs(train_size + validation_size - 1) > 1e-6:
        raise InputError(
            f"`train_size` is {train_size} and `validation_size` {validation_size}; they must add "
            "up to 1, for vmm sets no cells aside for tests. Leave one of them out."
        )
    return round(1 - train_size, 12) if validation_size is None else validation_size


def number(value: Any, name: str) -> float:
    """Return a number that the user gave."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InputError(f"`{name}` is {value!r}; it must be a number.") from None


def finite(value: Any, name: str) -> float:
    """Return a number that must be one: neither NaN nor infinite."""
    if not math.isfinite(number(value, name)):
        raise InputError(f"`{name}` is {value!r}; it must be a finite number.")
    return float(value)


def truth(value: Any, name: str) -> bool:
    """Return what must be True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"`{name}` is {value!r}; it must be True or False.")
    return bool(value)


def positive(value: Any, name: str) -> float:
    """Return a number that must be greater than 0, and finite."""
    if not 0 < number(value, name) < float("inf"):
        raise InputError(f"`{name}` is {value!r}; it must be greater than 0.")
    return float(value)


def whole(value: Any, name: str, least: int) -> int:
    """Return a whole number that must be at least `least`."""
    try:
        result = operator.index(value)
    except TypeError:
        result = int(value) if isinstance(value, float) and value.is_integer() else least - 1
    if isinstance(value, bool) or result < least:
        raise InputError(f"`{name}` is {value!r}; it must be a whole number of at least {least}.")
    return result
