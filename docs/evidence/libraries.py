"""Compare the scores of two runs of the same models under different libraries.

python docs/evidence/libraries.py results/evidence_libraries results/evidence_libraries_new
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from vmm.benchmark.metrics.rows import read_rows

KEYS = ["dataset", "model", "prior", "setting", "trial", "metric"]


def compare(old: Path, new: Path) -> pd.DataFrame:
    """Return, by metric, how many scores there are and by how much they differ."""
    both = []
    for name in ("clustering", "integration"):
        files = (folder / "metrics" / f"{name}.csv" for folder in (old, new))
        a, b = (read_rows(file).set_index(KEYS) for file in files)
        if not a.index.equals(b.index) or not (a["status"] == b["status"]).all():
            raise SystemExit(f"{name}: the runs have other rows")
        both.append(pd.DataFrame({"old": a["value"], "new": b["value"]}).dropna())
    rows = pd.concat(both).reset_index()
    rows["difference"] = (rows["new"] - rows["old"]).abs()
    rows["embedding"] = (
        rows["model"]
        .isin(["PCA", "Harmony", "Scanorama"])
        .map({False: "the same", True: "made anew"})
    )
    by = rows.groupby(["embedding", "metric"], sort=False)["difference"]
    equal = by.agg(lambda values: int((values == 0).sum()))
    table = pd.DataFrame({"scores": by.size(), "equal": equal, "largest difference": by.max()})
    return table.reset_index()


if __name__ == "__main__":
    print(compare(*map(Path, sys.argv[1:3])).to_markdown(index=False, floatfmt=".1e"))
