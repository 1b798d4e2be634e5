"""Progress of a training: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO


def describe(row: dict[str, float]) -> str:
    """Return the metrics of an epoch in a few words."""
    text = f"ELBO {row['valid_elbo']:.1f}"
    if row["utilized_clusters"]:
        text += f", {row['utilized_clusters']} clusters"
    if "valid_unmerged_nmi" in row:
        text += f", NMI {row['valid_unmerged_nmi']:.3f}"
    return text


def progress(
    label: str, max_epochs: int, stream: TextIO | None = None, interval: float = 10.0
) -> Callable[[dict[str, float]], None]:
    """Return a function that shows the row of each epoch.

    Parameters
    ----------
    label : str
        What is trained.
    max_epochs : int
    stream : text file, optional
        Where to; standard error by default. A terminal or a notebook gets a bar.
    interval : float
        Seconds between lines where there is no terminal.
    """
    stream = sys.stderr if stream is None else stream
    if stream.isatty() or "ipykernel" in sys.modules:
        return _bar(label, max_epochs, stream)
    last = time.monotonic()

    def show(row: dict[str, float]) -> None:
        nonlocal last
        if time.monotonic() - last >= interval:
            last = time.monotonic()
            print(f"{label}: epoch {row['epoch']}, {describe(row)}", file=stream, flush=True)

    return show


def _bar(label: str, max_epochs: int, stream: TextIO) -> Callable[[dict[str, float]], None]:
    from tqdm.auto import tqdm

    bar = tqdm(total=max_epochs, desc=label, unit="epoch", file=stream, dynamic_ncols=True)

    def show(row: dict[str, float]) -> None:
        bar.set_postfix_str(describe(row), refresh=False)
        bar.update(row["epoch"] - bar.n)

    return show
