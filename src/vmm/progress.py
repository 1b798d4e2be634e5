"""Progress of what takes long: a bar in a terminal, a line now and then elsewhere.

Epochs, a training that is resumed, cells that are read, downloads. All of it goes to standard
error, or to the stream that `shown_on` sets, and nothing else goes there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Stream(Protocol):
    """What progress can be written to: any text file."""

    def write(self, text: str, /) -> object: ...  # noqa: D102
    def flush(self) -> object: ...  # noqa: D102
    def isatty(self) -> bool: ...  # noqa: D102


_stream: Stream | None = None


@contextmanager
def shown_on(stream: Stream) -> Iterator[None]:
    """Let progress go to `stream` within the ``with`` block."""
    global _stream
    before, _stream = _stream, stream
    try:
        yield
    finally:
        _stream = before


def stream() -> Stream:
    """Return where progress goes."""
    return sys.stderr if _stream is None else _stream


def say(text: str) -> None:
    """Show a line of progress."""
    print(text, file=stream(), flush=True)


def describe(row: dict[str, float]) -> str:
    """Return the metrics of an epoch in a few words."""
    parts = [f"ELBO {row['valid_elbo']:.1f}"] if "valid_elbo" in row else []
    if row.get("utilized_clusters"):
        parts.append(f"{row['utilized_clusters']} clusters")
    if "valid_unmerged_nmi" in row:
        parts.append(f"NMI {row['valid_unmerged_nmi']:.3f}")
    return ", ".join(parts)


def progress(
    label: str, max_epochs: int, interval: float = 10.0
) -> Callable[[dict[str, float]], None]:
    """Return a function that shows the row of each epoch: a bar in a terminal or a notebook.

    Where there is no terminal, a line each `interval` seconds.
    """
    if stream().isatty() or "ipykernel" in sys.modules:
        return _bar(label, max_epochs)
    last = time.monotonic()

    def show(row: dict[str, float]) -> None:
        nonlocal last
        if time.monotonic() - last >= interval:
            last = time.monotonic()
            say(", ".join(filter(None, (f"{label}: epoch {row['epoch']}", describe(row)))))

    return show


@contextmanager
def counted(
    label: str, total: int, unit: str, interval: float = 10.0
) -> Iterator[Callable[[int], object]]:
    """Show how much of a known number is done, by what the function is called with.

    Where there is no terminal, a line each `interval` seconds.
    """
    if stream().isatty() or "ipykernel" in sys.modules:
        from tqdm.auto import tqdm

        with tqdm(
            total=total, desc=label, unit=f" {unit}", file=stream(), dynamic_ncols=True
        ) as shown:
            yield shown.update
        return
    done, last = 0, time.monotonic()

    def advance(n: int) -> None:
        nonlocal done, last
        done += n
        if time.monotonic() - last >= interval:
            last = time.monotonic()
            say(f"{label}: {done:,} of {total:,} {unit}")

    yield advance


def _bar(label: str, max_epochs: int) -> Callable[[dict[str, float]], None]:
    from tqdm.auto import tqdm

    bar = tqdm(total=max_epochs, desc=label, unit="epoch", file=stream(), dynamic_ncols=True)

    def show(row: dict[str, float]) -> None:
        bar.set_postfix_str(describe(row), refresh=False)
        bar.update(row["epoch"] - bar.n)

    return show
