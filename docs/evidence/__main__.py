"""Measure again what docs/fidelity.md reports: ``make evidence``, or a part of it by ``ONLY=``.

``python docs/evidence`` runs every part but the long ones, ``python docs/evidence cells images``
those that are named, ``python docs/evidence --list`` says what there is and what it took. Finished
jobs are not done again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from collect import TIMES

HERE = Path(__file__).resolve().parent


class Part(NamedTuple):
    """What is run by one name.

    Attributes
    ----------
    config : str
        Configuration, or script with its arguments.
    inference : dict
        What is set otherwise than there, in a run of the part's name.
    long : bool
        Whether it takes hours and is run only if it is named.
    """

    config: str
    inference: dict[str, object] | None = None
    long: bool = False

    def command(self, name: str) -> list[str]:
        """Return what runs it."""
        first, *others = self.config.split()
        if first.endswith(".py"):
            return [sys.executable, str(HERE / first), *others]
        changed = []
        if self.inference:
            told = json.dumps(self.inference)
            changed = ["--config", f"run=evidence_{name}", f"inference={told}"]
        cores = os.environ.get("CORES", "all")
        snakemake = [sys.executable, "-m", "snakemake", "--cores", cores]
        return [*snakemake, "--configfile", str(HERE / first), *changed]


RUN = "results/evidence_cells"
PARTS = {
    "cells": Part("cells.yaml"),
    "cells_three": Part("cells_three.yaml"),
    "cells_more": Part("cells_more.yaml"),
    "cells_pbmc4k": Part("cells_pbmc4k.yaml"),
    "images": Part("images.yaml"),
    "switches": Part("switches.yaml"),
    "responsibility_gradient": Part("switches.yaml", {"responsibility_gradient": False}),
    "concentration_prior": Part("switches.yaml", {"concentration_prior": "gamma"}),
    "pseudo_inputs": Part("pseudo_inputs.yaml"),
    "train_pseudo_inputs": Part("pseudo_inputs.yaml", {"train_pseudo_inputs": False}),
    "scvi_tools": Part("scvi_tools.py"),
    "choice": Part("choice.py"),
    "cells_converged": Part("cells_converged.yaml", long=True),
    "wishart_scale": Part("cells_switches.yaml", {"wishart_scale": "published_code"}, long=True),
    "log_counts": Part("cells_switches.yaml", {"log_counts": False}, long=True),
    "prior_learning_ratio": Part("cells_ratio.yaml", long=True),
    "mixing": Part("mixing.py results mixology", long=True),  # of data of cells_converged
    "cells_kang": Part("cells_kang.yaml", long=True),
    "price": Part(f"pcr.py {RUN}_converged {RUN}_kang", long=True),
    "images_full": Part("images_full.yaml", long=True),
    "images_full_fashion": Part("images_full_fashion.yaml", long=True),
    "cells_converged_kang": Part("cells_converged_kang.yaml", long=True),
    "cells_converged_pbmc4k": Part("cells_converged_pbmc4k.yaml", long=True),
    "images_gpu": Part("images_gpu.yaml", long=True),  # needs a GPU, as the next
    "images_gpu_fashion": Part("images_gpu_fashion.yaml", long=True),
    "images_full_priors": Part("images_full_priors.yaml", long=True),
}
"""In the order in which they are run."""


def took() -> dict[str, str]:
    """Return what the parts took when their results in the repository were made."""
    if not TIMES.is_file():
        return {}
    table = pd.read_csv(TIMES)
    hours = zip(table["run"], table["hours"], table["code"], strict=True)
    return {
        run.removeprefix("evidence_"): f"{h:.1f} h of a core ({code})" for run, h, code in hours
    }


def main(names: list[str]) -> int:
    """Run parts; return the exit status."""
    known = took()
    if unknown := [name for name in names if name not in PARTS and name != "--list"]:
        print(f"evidence: there is no {unknown[0]}; there are {', '.join(PARTS)}.", file=sys.stderr)
        return 2
    chosen = names or [name for name, part in PARTS.items() if not part.long]
    for name in PARTS if "--list" in names else chosen:
        when = "" if not PARTS[name].long else "  only if named"
        print(f"{name:24}{known.get(name, 'not yet measured'):38}{when}".rstrip(), flush=True)
    if "--list" in names:
        return 0
    for name in chosen:
        print(f"\n{name}: measured before: {known.get(name, 'nothing')}", flush=True)
        if status := subprocess.run(PARTS[name].command(name)).returncode:
            return status
    return subprocess.run([sys.executable, str(HERE / "collect.py")]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
