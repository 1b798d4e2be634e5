"""What is known of cells beside their counts and batches, and what a model may correct for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from vmm.data import checks
from vmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Covariates:
    """Covariates of N cells, by the names of their columns; false if there are none.

    Parameters
    ----------
    categorical
        (N,) int64 codes and the names that they stand for.
    continuous
        (N,) float32.
    size_factor
        (N,) float32, above 0: what the expected counts of a cell are scaled by, in place of their
        sum. None: their sum.
    """

    categorical: Mapping[str, tuple[np.ndarray, list[str]]] = field(default_factory=dict)
    continuous: Mapping[str, np.ndarray] = field(default_factory=dict)
    size_factor: np.ndarray | None = None

    def __bool__(self) -> bool:
        return bool(self.categorical or self.continuous or self.size_factor is not None)

    @property
    def n_categories(self) -> tuple[int, ...]:
        """Number of categories of each categorical covariate."""
        return tuple(len(names) for _, names in self.categorical.values())

    def rows(self, keep: np.ndarray) -> Covariates:
        """Return the covariates of some cells, without categories that they do not have."""
        return Covariates(
            {
                key: checks.recoded(codes[keep], names)
                for key, (codes, names) in self.categorical.items()
            },
            {key: values[keep] for key, values in self.continuous.items()},
            None if self.size_factor is None else self.size_factor[keep],
        )

    def described(self) -> dict[str, Any]:
        """Return numbers about them: cells of each category, ranges."""

        def span(values: np.ndarray) -> dict[str, float]:
            return {"least": float(values.min()), "largest": float(values.max())}

        found: dict[str, Any] = {
            key: checks.sizes(codes, names) for key, (codes, names) in self.categorical.items()
        }
        found |= {key: span(values) for key, values in self.continuous.items()}
        return found if self.size_factor is None else found | {SIZE_FACTOR: span(self.size_factor)}

    def remarks(self) -> list[str]:
        """Say which columns cannot help, and which stand in the way of training."""
        constant = [key for key, (_, names) in self.categorical.items() if len(names) == 1]
        constant += [key for key, values in self.continuous.items() if np.ptp(values) == 0]
        said = [f"The covariate {key!r} is the same in all cells." for key in constant]
        for key, values in self.continuous.items():
            largest = float(np.abs(values).max())
            if largest > UNSCALED and key not in constant:
                said.append(
                    f"The continuous covariate {key!r} has values up to {largest:.4g}; networks "
                    "train best on values of about 1: scale it, say to mean 0 and variance 1."
                )
        return said

    def columns(self) -> dict[str, Any]:
        """Return what to put into a table of cells: categories, numbers and the size factor."""
        import pandas as pd

        found: dict[str, Any] = {
            column_of(key): pd.Categorical.from_codes(codes, names)
            for key, (codes, names) in self.categorical.items()
        }
        found |= {column_of(key): values for key, values in self.continuous.items()}
        return found if self.size_factor is None else found | {SIZE_FACTOR: self.size_factor}

    def arrays(self) -> dict[str, np.ndarray]:
        """All content as arrays that need no pickle; nothing of what there is not."""
        found: dict[str, np.ndarray] = {}
        if self.categorical:
            codes, names = zip(*self.categorical.values(), strict=True)
            found |= {
                "categorical_keys": np.asarray(list(self.categorical), dtype=str),
                "categorical_codes": np.stack(codes, 1).astype(np.int64, copy=False),
                "categorical_sizes": np.asarray(self.n_categories, dtype=np.int64),
                "categorical_names": np.asarray(list(chain(*names)), dtype=str),
            }
        if self.continuous:
            found |= {
                "continuous_keys": np.asarray(list(self.continuous), dtype=str),
                "continuous_values": np.stack(list(self.continuous.values()), 1),
            }
        if self.size_factor is not None:
            found["size_factors"] = self.size_factor
        return found

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Covariates:
        """Build the covariates that `arrays` describes."""
        categorical, continuous = {}, {}
        if "categorical_keys" in arrays:
            keys, codes = arrays["categorical_keys"].tolist(), arrays["categorical_codes"].T
            ends = np.cumsum(arrays["categorical_sizes"])[:-1]
            names = np.split(arrays["categorical_names"], ends)
            for key, column, own in zip(keys, codes, names, strict=True):
                categorical[key] = (column, own.tolist())
        if "continuous_keys" in arrays:
            keys = arrays["continuous_keys"].tolist()
            continuous = dict(zip(keys, arrays["continuous_values"].T, strict=True))
        return cls(categorical, continuous, arrays.get("size_factors"))


UNSCALED = 20.0
"""A continuous covariate with larger values, of either sign, is told."""
SIZE_FACTOR = "size_factor"
"""Column of the size factor in a table of cells."""


def column_of(key: str) -> str:
    """Return the column of a covariate in a table of cells, whose others may have its name."""
    return f"covariate_{key}"


def read_covariates(
    obs: pd.DataFrame,
    where: str,
    categorical_covariate_keys: Sequence[str] | None = None,
    continuous_covariate_keys: Sequence[str] | None = None,
    size_factor_key: str | None = None,
) -> Covariates:
    """Check the columns of covariates, and return what they hold.

    Parameters
    ----------
    obs
        Table of the N cells.
    where
        File, for messages.
    categorical_covariate_keys, continuous_covariate_keys, size_factor_key
        Names of columns: of names or whole numbers; of numbers; of numbers above 0.

    Raises
    ------
    InputError
        If a column is missing, has missing values or others than it must have, or as many
        categories as there are cells.
    """
    categorical, continuous = categorical_covariate_keys or (), continuous_covariate_keys or ()
    codes = {
        key: checks.column(obs, key, "categorical_covariate_keys", where) for key in categorical
    }
    values = {
        key: checks.number_column(obs, key, "continuous_covariate_keys", where)
        for key in continuous
    }
    if size_factor_key is None:
        return Covariates(codes, values)
    factor = checks.number_column(obs, size_factor_key, "size_factor_key", where, positive=True)
    return Covariates(codes, values, factor)


def refuse_columns_twice(
    keys: Mapping[str, str | Sequence[str] | None], where: str, colon: str = ":"
) -> None:
    """Refuse a column that is to be two things.

    Parameters
    ----------
    keys
        Names of columns by what names them.
    where
        What has the columns, for messages.
    colon
        What follows the names in a message: they are keys of a configuration, or arguments.
    """
    first: dict[str, str] = {}
    for option, given in keys.items():
        for key in [given] if isinstance(given, str) else given or ():
            if key in first:
                both = f"`{option}{colon}` names the column {key!r} of {where} twice"
                if first[key] != option:
                    both = (
                        f"`{first[key]}{colon}` and `{option}{colon}` both name the column {key!r} "
                        f"of {where}"
                    )
                raise InputError(f"{both}; a column can be one thing only.")
            first[key] = option
