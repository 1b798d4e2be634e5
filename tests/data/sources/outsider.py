"""A data set as somebody outside of the package would write it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from vmm.data import RawCells, Source
from vmm.data.raw import Config, Files


def read(files: Files, config: Config) -> RawCells:
    random = np.random.default_rng(0)
    obs = pd.DataFrame({"donor": ["a", "b"] * 20, "type": ["T"] * 10 + ["B"] * 30})
    genes = [f"gene{g}" for g in range(12)]
    return RawCells(random.poisson(3, (40, 12)), obs, genes, "the outsider's", "the outsider's")


RECORD = Source(
    name="outsider",
    label="Outsider",
    kind="cells",
    title="40 cells",
    reader="outsider:read",
    licence="CC0",
    citation="Somebody (2024)",
    homepage="https://example.org",
    batch_key="donor",
    label_key="type",
)
