"""What a model of the grid was trained with, as a name that prints and reads itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Self, cast

from vmm.errors import InputError

Stop = Literal["nmi", "elbo"]


@dataclass(frozen=True)
class Setting:
    """The setting of a job: in its folder's name, in rows of metrics, in wildcards.

    Images have ``b256-nmi``: batch size, and the validation metric that stops the training. Cells
    have ``chosen``: batch size and prior learning ratio as configured or tuned; in tuning
    ``b128-r2.5``: both. Rows that score Leiden's clusters of an embedding, not the model's own,
    have ``leiden``.

    Attributes
    ----------
    batch_size : int, optional
    ratio : float, optional
        Prior learning ratio.
    stop : {"nmi", "elbo"}, optional
    word : str
        A setting that says nothing of these.
    """

    batch_size: int | None = None
    ratio: float | None = None
    stop: Stop | None = None
    word: str = ""

    def __lt__(self, other: Setting) -> bool:
        """Sort by batch size, then by ratio."""
        keys = [(s.batch_size or 0, s.ratio or 0.0, s.stop or "", s.word) for s in (self, other)]
        return keys[0] < keys[1]

    def __str__(self) -> str:
        """Return the name."""
        if self.word:
            return self.word
        return f"b{self.batch_size}-" + (self.stop or f"r{self.ratio:g}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a setting's name.

        Raises
        ------
        InputError
            If it is none.
        """
        if text in WORDS:
            return cls(word=text)
        match = re.fullmatch(r"b(\d+)-(?:(nmi|elbo)|r(\d+(?:\.\d+)?(?:e[-+]?\d+)?))", text)
        if match is None:
            raise InputError(
                f"setting is {text!r}; it must look like b256-nmi, b256-elbo or b128-r2.5, or be "
                f"one of {', '.join(WORDS)}"
            )
        size, stop, ratio = match.groups()
        return cls(int(size), None if ratio is None else float(ratio), cast("Stop | None", stop))

    @property
    def is_tuning(self) -> bool:
        """Whether it is one of those that tuning compares."""
        return self.ratio is not None


CHOSEN = Setting(word="chosen")
"""Of cells: batch size and ratio as configured or tuned."""
LEIDEN = Setting(word="leiden")
"""Of rows that score Leiden's clusters of an embedding."""
WORDS = (str(CHOSEN), str(LEIDEN))

OF_IMAGES = r"b\d+-(?:nmi|elbo)"
"""Pattern of the settings that name folders of image models."""
TRAINED = rf"{CHOSEN}|{OF_IMAGES}"
"""Pattern of the settings that name folders of models outside tuning."""
