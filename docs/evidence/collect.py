"""Gather what `make evidence` measured into docs/: tables in docs/fidelity.md, tests, pictures.

Reads ``results/evidence_*``. Writes ``docs/evidence/results`` and, in docs/fidelity.md, what stands
between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``: no number there is typed by hand.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from vmm.benchmark.methods.records import METHODS, method_of
from vmm.benchmark.metrics.rows import read_rows
from vmm.benchmark.metrics.significance import paired_tests
from vmm.io import read_json
from vmm.paper.labels import dataset_label

DOCS = Path(__file__).resolve().parents[1]
RESULTS, OUT, PAGE = Path("results"), DOCS / "evidence" / "results", DOCS / "fidelity.md"
TIMES = OUT / "times.csv"
"""What the trainings of each run took, and the code that they were made with."""
CELL_RUNS = (
    "evidence_cells",
    "evidence_cells_three",
    "evidence_cells_more",
    "evidence_cells_pbmc4k",
)
"""A data set is that of the first run that has it."""
CONVERGED = tuple(f"evidence_cells_converged{of}" for of in ("", "_kang", "_pbmc4k"))
IMAGE_RUNS = ("evidence_images",)
FULL_IMAGE_RUNS = tuple(f"evidence_images_full{of}" for of in ("", "_fashion", "_priors"))
GPU_IMAGE_RUNS = ("evidence_images_gpu", "evidence_images_gpu_fashion")
"""Most of their weights stayed on the machine that made them, so they have tables, but no page."""
SWITCHES = {
    "responsibility_gradient": ("evidence_switches", "true", "false"),
    "concentration_prior": ("evidence_switches", "inverse_gamma", "gamma"),
    "train_pseudo_inputs": ("evidence_pseudo_inputs", "true", "false"),
    "wishart_scale": ("evidence_cells_converged", "paper", "published_code"),
    "log_counts": ("evidence_cells_converged", "true", "false"),
    "prior_learning_ratio": ("evidence_cells_converged", "as tuned", "four times"),
}
"""The run with the default, the default and the other value; `evidence_<switch>` has the other."""

SCORES = {
    "clustering": ["Utilized clusters", "NMI (unmerged)", "NMI (merged)"],
    "integration": ["Bio conservation", "Batch correction", "Total", "Silhouette label"],
}
PAIRS = [("GMM", "N(0, I)"), ("VMM", "N(0, I)"), ("VMM", "GMM"), ("VMM", "VampPrior")]
TOGETHER = [*PAIRS, ("VMM", "scvi-tools N(0, I)"), ("VMM", "Leiden on scvi-tools N(0, I)")]
IMAGE_PAIRS = [("VMM", "VaDE"), ("VMM", "GMM"), ("VMM", "VampPrior")]
PICTURES = ("mde_*.png", "samples_*.png", "training_*.png", "tuning_*.png")


def markdown(frame: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [list(frame.columns), ["---"] * frame.shape[1], *frame.astype(str).to_numpy().tolist()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in r) + " |" for r in rows)


def runs(names: tuple[str, ...]) -> list[Path]:
    """Return the folders of those runs that are complete."""
    last = {name: "tables/table2_tests.csv" for name in GPU_IMAGE_RUNS}
    return [
        RESULTS / name
        for name in names
        if (RESULTS / name / last.get(name, "report.html")).exists()
    ]


def sources(names: tuple[str, ...]) -> list[tuple[Path, list[str]]]:
    """Return the folders of those runs, each with the data sets that no earlier one has."""
    found: list[tuple[Path, list[str]]] = []
    for run in runs(names):
        before = [dataset for _, datasets in found for dataset in datasets]
        own = read_rows(run / "metrics" / "clustering.csv")["dataset"].unique()
        found.append((run, [dataset for dataset in own if dataset not in before]))
    return found


def tests(names: tuple[str, ...], table: int) -> pd.DataFrame:
    """Return what one table of some runs shows, with its tests."""
    frames = []
    for run, datasets in sources(names):
        frame = pd.read_csv(run / "tables" / f"table{table}_tests.csv")
        frames.append(frame[frame["dataset"].isin(datasets)])
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()


def scores(frame: pd.DataFrame, metrics: list[str], decimals: int = 3) -> pd.DataFrame:
    """Return a method a row and a data set a column: mean ± sd, bold as the tables have it."""
    frame = frame[frame["metric"].isin(metrics)]
    texts: dict[str, dict[str, str]] = {}
    for row in frame.itertuples():
        if pd.isna(row.mean):
            text = "n/a"
        elif row.metric == "Utilized clusters":
            text = f"{row.mean:.1f}"
        else:
            text = f"{row.mean:.{decimals}f} ± {row.sd:.{decimals}f}"
            text = f"**{text}**" if row.bold else text
        before = texts.setdefault(row.method, {}).get(row.dataset)
        texts[row.method][row.dataset] = f"{before}; {text}" if before else text
    table = pd.DataFrame.from_dict(texts, orient="index").fillna("–")
    return table.rename_axis("").rename(columns=dataset_label).reset_index()


def trainings() -> pd.DataFrame:
    """Return, for each data set and method, the epochs until the best one and what was tuned."""
    lines = []
    for run, datasets in sources(CELL_RUNS):
        for file in sorted(run.glob("models/*/*/chosen/trial_*/run.json")):
            done = read_json(file)
            spec = done["spec"]
            if "epochs" in done and spec["dataset"] in datasets:
                lines.append(
                    {
                        "dataset": dataset_label(spec["dataset"]),
                        "method": method_of(spec["model"], spec["prior"]).label,
                        "best": done["best_epoch"],
                        "cut": done["epochs"] >= spec["max_epochs"],
                        "ok": done["status"] == "ok",
                    }
                )
    if not lines:
        return pd.DataFrame()
    parts = pd.DataFrame(lines).groupby(["method", "dataset"], sort=False)
    text = parts.apply(_epochs, include_groups=False).unstack("dataset").fillna("–")
    order = [m.label for m in METHODS["cells"].values() if m.label in text.index]
    return text.loc[order].rename_axis("").reset_index()


def _epochs(part: pd.DataFrame) -> str:
    text = f"{part['best'].mean():.0f}"
    for column, word in (("cut", "cut"), ("ok", "diverged")):
        number = int((part[column] if column == "cut" else ~part[column]).sum())
        text += f" ({number} {word})" if number else ""
    return text


def choices() -> pd.DataFrame:
    """Return what tuning chose for each data set, and from what."""
    lines = []
    for run in runs(CELL_RUNS):
        for file in sorted(run.glob("tuning/*.json")):
            choice = read_json(file)
            tried = "; ".join(
                f"{row['setting'].partition('-r')[2]}: {row['Utilized clusters']:.0f}, "
                f"{row[choice['criteria'][-1]]:.3f}"
                for row in choice["table"]
            )
            types = read_json(run / "data" / f"{file.stem}.json")["n_types"]
            lines.append(
                {
                    "data set": dataset_label(file.stem),
                    "types": types,
                    "ratio: clusters, score": tried,
                    "chosen": choice["prior_learning_ratio"],
                }
            )
    return pd.DataFrame(lines)


def differences(
    kind: str, names: tuple[str, ...], metric: str, pairs: list
) -> Iterator[tuple[str, str, str, pd.DataFrame]]:
    """Yield data set, one method and another, and their values by trial, for each pair."""
    source = "integration" if metric in SCORES["integration"] else "clustering"
    labels = {(m.model, m.prior): m.label for m in METHODS[kind].values()}
    for run, datasets in sources(names):
        rows = read_rows(run / "metrics" / f"{source}.csv")
        rows = rows[rows["metric"].eq(metric) & rows["dataset"].isin(datasets)]
        own = [labels[key] for key in zip(rows["model"], rows["prior"], strict=True)]
        of = rows["setting"].eq("leiden").map({True: "Leiden on ", False: ""})
        rows = rows.assign(method=of + own)
        for dataset, part in rows.groupby("dataset", sort=False):
            values = part.pivot(index="trial", columns="method", values="value")
            for one, other in pairs:
                if {one, other} <= set(values.columns):
                    yield str(dataset), one, other, values


def claims(kind: str, names: tuple[str, ...], metric: str, pairs: list) -> pd.DataFrame:
    """Return, for each data set and pair of methods, the paired difference in one metric."""
    found = differences(kind, names, metric, pairs)
    return pd.DataFrame([_claim(dataset, values, *pair) for dataset, *pair, values in found])


def together(names: tuple[str, ...], metrics: list[str], pairs: list) -> pd.DataFrame:
    """Return, for each metric and pair of methods, what all data sets together say."""
    lines = []
    for metric in metrics:
        of_pair: dict[str, dict[str, np.ndarray]] = {}
        for dataset, one, other, values in differences("cells", names, metric, pairs):
            difference = (values[one] - values[other]).dropna().to_numpy()
            if len(difference):
                of_pair.setdefault(f"{one} - {other}", {})[dataset] = difference
        for pair, sets in of_pair.items():
            means = [difference.mean() for difference in sets.values()]
            higher = sum(mean > 0 for mean in means)
            p = flips(list(sets.values()))
            lines.append(
                {
                    "metric": metric,
                    "pair": pair,
                    "difference": f"{np.mean(means):+.4f}",
                    "higher on": f"{higher} of {len(means)}",
                    "p, signs": f"{binomtest(higher, len(means)).pvalue:.3f}",
                    "trials": str(sum(map(len, sets.values()))),
                    "p, flips": f"{p:.4f}" if p >= 5e-5 else "< 0.0001",
                }
            )
    return pd.DataFrame(lines)


def flips(parts: list[np.ndarray], n: int = 100_000) -> float:
    """Return p of the mean over data sets of mean differences, were each trial's sign a coin's."""
    rng = np.random.default_rng(0)
    observed = np.mean([part.mean() for part in parts])
    drawn = np.zeros(n)
    for part in parts:
        signs = rng.choice([-1, 1], (n, len(part)))
        drawn += (signs * part).mean(axis=1) / len(parts)
    return (1 + (np.abs(drawn) >= abs(observed) - 1e-12).sum()) / (1 + n)


def _claim(dataset: str, values: pd.DataFrame, one: str, other: str) -> dict[str, str]:
    test = paired_tests(values[[one, other]]).loc[lambda frame: frame["status"].eq("tested")]
    difference = (values[one] - values[other]).dropna()
    return {
        "data set": dataset_label(dataset),
        "pair": f"{one} - {other}",
        "difference": f"{difference.mean():+.4f}",
        "n": str(len(difference)),
        "p": _p_value(test["p"].iloc[0]) if len(test) else "–",
    }


def _p_value(p: float) -> str:
    return "< 0.001" if p < 0.0005 else f"{p:.3f}"


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
            both = both[both["setting"].ne("leiden")]
            keys = ["dataset", "model", "prior", "metric"]
            for (dataset, model, prior, metric), part in both.groupby(keys):
                values = part.pivot(index="trial", columns="run", values="value")
                if set(values.columns) != {default, other}:
                    continue
                lines.append(_switch_line(switch, dataset, model, prior, metric, values, default))
    return pd.DataFrame(lines)


def _switch_line(switch, dataset, model, prior, metric, values, default) -> dict[str, str]:
    other = next(column for column in values.columns if column != default)
    p = paired_tests(values)["p"].dropna()
    return {
        "switch": switch,
        "data set": dataset,
        "prior": method_of(model, prior).label,
        "metric": metric,
        "default": f"{default}: {values[default].mean():.3f} ± {values[default].std():.3f}",
        "other": f"{other}: {values[other].mean():.3f} ± {values[other].std():.3f}",
        "n": str(len(values.dropna())),
        "p": f"{p.iloc[0]:.3f}" if len(p) else "–",
    }


# Writing -------------------------------------------------------------------------------------


def write_run(run: Path) -> None:
    """Write a run's tables and recommendations as text; copy its tests and pictures."""
    parts, out = [f"# {run.name}", made_with(run)], OUT / run.name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for path in sorted((run / "tables").glob("table?.csv")):
        shutil.copy(path.with_name(f"{path.stem}_tests.csv"), out)
        table = pd.read_csv(path, keep_default_na=False)
        parts.append(f"## {path.stem}\n\n{markdown(table)}")
    recommendation = run / "tables" / "recommendation.json"
    if recommendation.exists():
        for dataset, judged in read_json(recommendation).items():
            sentences = [part["sentence"] for part in judged.values() if "sentence" in part]
            parts.append(f"**{dataset}.** {' '.join(sentences)}")
    for pattern in PICTURES:
        for picture in sorted((run / "figures").glob(pattern)):
            shrink(picture, out / picture.name)
    (OUT / f"{run.name}.md").write_text("\n\n".join(parts) + "\n")


def made_with(run: Path) -> str:
    """Say what code made the models of a run, and with which settings of the switches."""
    code, settings = set(), {}
    for file in sorted(run.glob("models/*/*/*/trial_*/run.json")):
        done = read_json(file)
        spec = done.get("spec", {})
        code.add(done.get("versions", {}).get("vmm", ""))
        told = {**spec.get("ours", {}).get("options", {})}
        told |= {key: value for key, value in spec.get("networks", {}).items() if key in LOGS}
        if told:
            settings[method_of(spec["model"], spec["prior"]).label] = told
    lines = [f"Models made with vmm {', '.join(sorted(filter(None, code))) or 'unknown'}."]
    for method, told in settings.items():
        lines.append(f"- {method}: " + ", ".join(f"{k} {str(v).lower()}" for k, v in told.items()))
    return "\n".join(lines)


LOGS = ("log_counts", "deeply_inject_covariates")
"""Switches that are a matter of the networks."""


def write_times(names: tuple[str, ...]) -> None:
    """Write what the jobs of complete runs took, beside what was known of others."""
    known = pd.read_csv(TIMES).set_index("run").to_dict("index") if TIMES.is_file() else {}
    for run in runs(names):
        seconds = sum(pd.read_csv(f, sep="\t")["s"].sum() for f in run.rglob("benchmarks/**/*.tsv"))
        code = made_with(run).partition(".\n")[0].removeprefix("Models made with ").rstrip(".")
        known[run.name] = {"hours": round(seconds / 3600, 2), "code": code}
    table = pd.DataFrame.from_dict(known, orient="index").rename_axis("run")
    table.to_csv(TIMES)


def write_switches(frame: pd.DataFrame) -> None:
    """Write what was measured of the switches, beside what is known of those not run here."""
    path = OUT / "switches.md"
    lines = path.read_text().splitlines() if path.is_file() else []
    others = set(SWITCHES) - set(frame["switch"])
    known = [line for line in lines if line.strip("| ").partition(" |")[0] in others]
    path.write_text("\n".join(["# Switches\n", markdown(frame), *known]) + "\n")


def shrink(source: Path, target: Path, width: int = 900) -> None:
    """Write a smaller copy of a picture, in few colours."""
    from PIL import Image

    picture = Image.open(source).convert("RGB")
    height = round(picture.height * min(1.0, width / picture.width))
    picture = picture.resize((min(width, picture.width), height), Image.Resampling.LANCZOS)
    picture.quantize(128).save(target, optimize=True)


def put(page: str, name: str, text: str) -> str:
    """Return the page with `text` between the marks of `name`."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not found.search(page):
        raise SystemExit(f"{PAGE} has no {begin} … {end}")
    return found.sub(lambda _: f"{begin}\n\n{text}\n\n{end}", page)


def blocks() -> dict[str, pd.DataFrame]:
    """Return the tables of docs/fidelity.md by their marks."""
    integration, clusters = tests(CELL_RUNS, 4), tests(CELL_RUNS, 3)
    images = tests(IMAGE_RUNS, 2)
    made = {"trainings": trainings(), "choices": choices()}
    if len(integration):
        made["bio"] = scores(integration, ["Bio conservation"])
        made["total"] = scores(integration, ["Batch correction", "Total"])
        made["clusters"] = scores(clusters, ["Utilized clusters", "NMI (unmerged)"])
        made["claims"] = claims("cells", CELL_RUNS, "Bio conservation", PAIRS)
    if len(three := tests(("evidence_cells_three",), 4)):
        made["three"] = scores(three, ["Bio conservation", "Batch correction", "Total"])
    if len(converged := tests(CONVERGED, 4)):
        made["converged_cells"] = scores(
            converged, ["Batch correction", "Bio conservation", "Total"]
        )
        own = tests(CONVERGED, 3)
        made["converged_clusters"] = scores(own, ["Utilized clusters", "NMI (unmerged)"])
        metrics = ["Bio conservation", "Batch correction", "Total", "NMI (unmerged)"]
        made["together"] = together(CONVERGED, metrics, TOGETHER)
    if len(images):
        shown = ["Utilized clusters", "Accuracy", "NMI (unmerged)"]
        made["images"] = scores(images, shown)
        made["image_claims"] = claims("images", IMAGE_RUNS, "NMI (unmerged)", IMAGE_PAIRS)
    if len(full := tests(GPU_IMAGE_RUNS, 2)):
        shown = ["Utilized clusters", "Accuracy", "NMI (merged)", "NMI (unmerged)"]
        made["images_gpu"] = scores(full, shown)
        made["image_gpu_claims"] = pd.concat(
            [claims("images", GPU_IMAGE_RUNS, metric, IMAGE_PAIRS) for metric in shown[1:]],
            keys=shown[1:],
            names=["metric", None],
        ).reset_index("metric")
    return {name: frame for name, frame in made.items() if len(frame)}


def main() -> None:
    """Write everything that is there."""
    OUT.mkdir(exist_ok=True)
    names = (*CELL_RUNS, *CONVERGED, *IMAGE_RUNS, *FULL_IMAGE_RUNS, *GPU_IMAGE_RUNS)
    for run in runs(names):
        write_run(run)
    write_times(
        (
            *(n for n in names if n not in GPU_IMAGE_RUNS),
            *(f"evidence_{switch}" for switch in SWITCHES),
        )
    )
    if len(frame := switches()):
        write_switches(frame)
    page = PAGE.read_text()
    for name, frame in blocks().items():
        page = put(page, name, markdown(frame))
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
