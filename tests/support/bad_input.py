"""How the tables of bad input are run: as the programs run it, without starting a process each."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anndata
import numpy as np
import pandas as pd

from vmm.errors import InputError


class Ended(NamedTuple):
    """How a program ended and what it wrote to standard error."""

    status: int
    said: str


def program(main: Callable[[list[str]], int], *arguments: object) -> Ended:
    """Run a command line in this process."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            status = stop.code
    return Ended(int(status), said.getvalue().strip())


def job(function: Callable[..., Any], *arguments: Any) -> Ended:
    """Run what a script of the workflow runs; InputError alone is told without a traceback.

    That scripts do so is tested in ``workflow/test_bad_input.py``.
    """
    try:
        function(*arguments)
    except InputError as error:
        return Ended(1, str(error))
    return Ended(0, "")


def listing(folder: Path) -> dict[str, int]:
    """Return all that lies in a folder, with sizes."""
    return {str(path.relative_to(folder)): path.lstat().st_size for path in folder.rglob("*")}


def assert_one_sentence(ended: Ended, sentence: str) -> None:
    """Assert a failure that is told in one line, the last one, which has the given words."""
    *before, last = ended.said.split("\n")
    assert ended.status != 0, ended
    assert sentence in last, ended.said
    assert "Traceback" not in ended.said
    # argparse prints how to call it; vmm fit what it reads.
    assert all(line.startswith(("usage:", " ", "Reading ")) for line in before), ended.said
    assert len(last) < 700


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """Make a folder that every user may enter and write to; pytest's are the owner's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Give up the rights of root, whom permissions do not bind, for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def cells(n: int = 40, n_genes: int = 12) -> anndata.AnnData:
    """Return cells of two donors and two types with whole counts."""
    rng = np.random.default_rng(0)
    obs = pd.DataFrame(
        {
            "donor": np.where(np.arange(n) % 2, "first", "second"),
            "cell_type": np.where(np.arange(n) < n // 2, "T", "B"),
        },
        index=[f"cell{i}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"gene{g}" for g in range(n_genes)])
    counts = rng.poisson(5, (n, n_genes)).astype(np.float32)
    return anndata.AnnData(counts, obs=obs, var=var)
