"""What more cells cost: the tables and the plot of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale import LABELS
from vmm.io import atomic

Row = tuple[int, float, float, float]


def rows(result: dict[str, Any]) -> list[Row]:
    """Return cells, seconds and CPU seconds of an epoch, and peak memory in GB."""
    contenders = result["contenders"]
    return [
        (n, of["median"], of["cpu"], of["peak_mb"] / 1024)
        for n, label in LABELS.items()
        for of in [contenders[label]]
    ]


def scale_table(result: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table."""
    head = ["cells", "epoch", "CPU time", "CPU time per cell", "peak memory"]
    return head, [
        [
            LABELS[n].removesuffix(" cells"),
            f"{seconds:.3g} s",
            f"{cpu:.3g} s",
            f"{1e6 * cpu / n:.0f} µs",
            f"{gigabytes:.2f} GB",
        ]
        for n, seconds, cpu, gigabytes in rows(result)
    ]


def plot_scale(result: dict[str, Any], path: Path) -> None:
    """Draw time and memory against the number of cells."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    n_cells, seconds, cpu, gigabytes = zip(*rows(result), strict=True)
    figure, (time, memory) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    time.loglog(n_cells, seconds, "o-", label="elapsed")
    time.loglog(n_cells, cpu, "s-", label="CPU time")
    time.loglog(n_cells, [cpu[-1] * n / n_cells[-1] for n in n_cells], "k:", label="in proportion")
    time.set_ylabel("seconds per epoch")
    time.legend(fontsize=8)
    memory.semilogx(n_cells, gigabytes, "o-")
    memory.axhline(8, color="black", lw=1)
    memory.set(ylim=(0, 8.5), ylabel="peak memory (GB)")
    for axes in (time, memory):
        axes.set_xlabel("cells")
    with atomic(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def atlas_table(results: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the head and the rows of the table of stages, from results by ascending size.

    The growth is the exponent b of CPU time = a · cells^b, fitted to all but the smallest size,
    where much is the start of libraries.
    """
    sizes = [int(result["name"].removeprefix("atlas_")) for result in results]
    head = ["stage", *(f"{n:,}".replace(",", " ") for n in sizes), "growth"]
    rows = []
    for stage in results[0]["contenders"]:
        taken = [result["contenders"].get(stage) for result in results]
        cells = [f"{of['cpu']:.0f} s, {of['median']:.1f} GB" if of else "—" for of in taken]
        known = [(n, of["cpu"]) for n, of in zip(sizes, taken, strict=True) if of][1:]
        fitted = np.polyfit(*np.log(np.transpose(known)), 1)[0] if len(known) > 1 else None
        rows.append([stage, *cells, "—" if fitted is None else f"{fitted:.2f}"])
    return head, rows
