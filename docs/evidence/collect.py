"""Gather what `make evidence` measured into text and small pictures under docs/evidence/results.

Reads ``results/evidence_*`` and writes one Markdown file, the tests behind it as CSV, and pictures.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from vmm.io import read_json
from vmm.metrics.rows import read_rows
from vmm.metrics.significance import paired_tests
from vmm.names import METHODS, method_of

RESULTS, OUT = Path("results"), Path(__file__).parent / "results"
RUNS = ("evidence_cells", "evidence_cells_kang", "evidence_cells_pbmc4k", "evidence_images")
SWITCHES = {
    "responsibility_gradient": ("evidence_switches", "true", "false"),
    "concentration_prior": ("evidence_switches", "inverse_gamma", "gamma"),
    "train_pseudo_inputs": ("evidence_pseudo_inputs", "true", "false"),
}
"""The run with the default, the default and the other value; `evidence_<switch>` has the other."""

SCORES = {
    "clustering": ["Utilized clusters", "NMI (unmerged)", "NMI (merged)"],
    "integration": ["Bio conservation", "Batch correction", "Total", "Silhouette label"],
}
PRIORS = {
    "N(0, I)": "StandardNormal",
    "VampPrior": "VampPrior",
    "GMM": "GaussianMixture",
    "VMM": "VampPriorMixture",
}
PAIRS = [("GMM", "N(0, I)"), ("VMM", "N(0, I)"), ("VMM", "GMM"), ("VMM", "VampPrior")]
PICTURES = ("mde_*.png", "samples_*.png", "training_*.png")


def markdown(frame: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in rows)


def tables_of(run: str) -> list[str]:
    """Return a run's tables and recommendations, and copy its tests and pictures."""
    folder, parts = RESULTS / run, [f"# {run}"]
    (OUT / run).mkdir(parents=True, exist_ok=True)
    for path in sorted((folder / "tables").glob("table?.csv")):
        shutil.copy(path.with_name(f"{path.stem}_tests.csv"), OUT / run)
        table = pd.read_csv(path, keep_default_na=False)
        parts.append(f"## {path.stem}\n\n{markdown(table)}")
    recommendation = folder / "tables" / "recommendation.json"
    if recommendation.exists():
        for dataset, judged in read_json(recommendation).items():
            sentences = [part["sentence"] for part in judged.values() if "sentence" in part]
            parts.append(f"**{dataset}.** {' '.join(sentences)}")
    for pattern in PICTURES:
        for picture in sorted((folder / "figures").glob(pattern)):
            shrink(picture, OUT / run / picture.name)
    return parts


def shrink(source: Path, target: Path, width: int = 900) -> None:
    """Write a smaller copy of a picture, in few colours."""
    from PIL import Image

    picture = Image.open(source).convert("RGB")
    height = round(picture.height * min(1.0, width / picture.width))
    picture = picture.resize((min(width, picture.width), height), Image.Resampling.LANCZOS)
    picture.quantize(128).save(target, optimize=True)


def switches() -> pd.DataFrame:
    """Return each switch's two values side by side, tested by trial."""
    lines = []
    for switch, (base, default, other) in SWITCHES.items():
        for metrics, names in SCORES.items():
            files = [
                RESULTS / r / "metrics" / f"{metrics}.csv" for r in (base, f"evidence_{switch}")
            ]
            if not all(path.exists() for path in files):
                continue
            given, changed = map(read_rows, files)
            both = pd.concat([given.assign(run=default), changed.assign(run=other)])
            both = both[both["metric"].isin(names) & both["status"].eq("ok")]
            keys = ["dataset", "model", "prior", "metric"]
            for (dataset, model, prior, metric), part in both.groupby(keys):
                values = part.pivot(index="trial", columns="run", values="value")
                if set(values.columns) != {default, other}:
                    continue
                lines.append(_switch_line(switch, dataset, model, prior, metric, values, default))
    return pd.DataFrame(lines)


def _switch_line(switch, dataset, model, prior, metric, values, default) -> dict[str, str]:
    other = next(column for column in values.columns if column != default)
    tests = paired_tests(values)
    p = tests["p"].dropna()
    return {
        "switch": switch,
        "data set": dataset,
        "prior": METHODS["images" if model == "VAE" else "cells"][method_of(model, prior)].label,
        "metric": metric,
        "default": f"{default}: {values[default].mean():.3f} ± {values[default].std():.3f}",
        "other": f"{other}: {values[other].mean():.3f} ± {values[other].std():.3f}",
        "n": str(len(values.dropna())),
        "p": f"{p.iloc[0]:.3f}" if len(p) else "–",
    }


def claims() -> pd.DataFrame:
    """Return, for each cell set and pair of priors, the paired difference in bio conservation."""
    lines = []
    for path in sorted(RESULTS.glob("evidence_cells*/metrics/integration.csv")):
        rows = read_rows(path)
        rows = rows[rows["metric"].eq("Bio conservation") & rows["model"].eq("scVI")]
        for dataset, part in rows.groupby("dataset"):
            values = part.pivot(index="trial", columns="prior", values="value")
            for better, worse in PAIRS:
                pair = values[[PRIORS[better], PRIORS[worse]]]
                test = paired_tests(pair).loc[lambda frame: frame["status"].eq("tested")]
                difference = pair[PRIORS[better]] - pair[PRIORS[worse]]
                lines.append(
                    {
                        "data set": dataset,
                        "pair": f"{better} - {worse}",
                        "difference": f"{difference.mean():+.4f}",
                        "n": str(len(difference.dropna())),
                        "p": f"{test['p'].iloc[0]:.3f}" if len(test) else "–",
                    }
                )
    return pd.DataFrame(lines)


def main() -> None:
    """Write everything that is there."""
    OUT.mkdir(exist_ok=True)
    for run in RUNS:
        if (RESULTS / run / "report.html").exists():
            (OUT / f"{run}.md").write_text("\n\n".join(tables_of(run)) + "\n")
    frame = claims()
    if len(frame):
        (OUT / "claims.md").write_text(
            f"# Bio conservation, paired by trial\n\n{markdown(frame)}\n"
        )
    frame = switches()
    if len(frame):
        (OUT / "switches.md").write_text(f"# Switches\n\n{markdown(frame)}\n")


if __name__ == "__main__":
    main()
