"""From the results to the tables and the plot of docs/benchmarks.md."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.harness import RESULTS, ROOT
from benchmarks.scale_report import atlas_table, plot_scale, scale_table
from vmm.io import atomic, read_json

PAGE = ROOT / "docs" / "benchmarks.md"
PLOT = ROOT / "docs" / "pictures" / "benchmarks.png"
SCALE_PICTURE = (
    "![Seconds per epoch and peak memory against the number of cells](pictures/scale.png)"
)

Result = dict[str, Any]


def write_page(names: list[str]) -> Path:
    """Put the tables of the results into the page between its markers; return the page."""
    paths = [RESULTS / f"{name}.json" for name in names]
    results = [read_json(path) for path in paths if path.is_file()]
    text = PAGE.read_text()
    atlases = [result for result in results if result["name"].startswith("atlas_")]
    others = [result for result in results if result not in atlases]
    text = fill(text, "targets", targets(others))
    text = fill(text, "contenders", contenders(others))
    text = fill(text, "machine", machine(results))
    if atlases:
        text = fill(text, "atlas", table(*atlas_table(atlases)))
    for result in results:
        if result["name"] == "scale_time":
            text = fill(text, "scale", f"{table(*scale_table(result))}\n\n{SCALE_PICTURE}")
            plot_scale(result, PLOT.with_name("scale.png"))
    with atomic(PAGE) as temporary:
        temporary.write_text(text)
    plot(others)
    return PAGE


def fill(text: str, marker: str, content: str) -> str:
    """Replace what stands between ``<!-- marker -->`` and ``<!-- /marker -->``."""
    pattern = rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)"
    filled, n = re.subn(pattern, lambda m: f"{m[1]}{content}\n{m[2]}", text, flags=re.DOTALL)
    if n != 1:
        raise ValueError(f"{PAGE}: the marker <!-- {marker} --> occurs {n} times; it must be once")
    return filled


def targets(results: list[Result]) -> str:
    """Return the table of comparisons."""
    head = ["work", "ours", "against", "ratio", "CPU time", "target", "met"]
    rows = [
        [result["work"], *row_of(comparison, result)]
        for result in results
        for comparison in result["comparisons"]
    ]
    return table(head, rows)


def row_of(comparison: dict[str, Any], result: Result) -> list[str]:
    """Return ours, theirs, ratio with quartiles, ratio of CPU times, target and verdict."""
    unit = "" if comparison["theirs"] else f" {result['unit']}"
    median, low, high = (number(comparison[key]) for key in ("median", "low", "high"))
    return [
        comparison["ours"],
        comparison["theirs"] or "—",
        f"{median} ({low} – {high}){unit}",
        number(comparison["cpu"]) if "cpu" in comparison else "—",
        f"≤ {number(comparison['target'])}{unit}",
        "yes" if comparison["met"] else "**no**",
    ]


def contenders(results: list[Result]) -> str:
    """Return the table of what each contender took."""
    head = ["benchmark", "contender", "median (quartiles)", "CPU time", "peak memory", "n"]
    rows = []
    for result in results:
        for label, row in result["contenders"].items():
            spread = f"{number(row['low'])} – {number(row['high'])}"
            rows.append(
                [
                    result["name"],
                    label,
                    f"{number(row['median'])} ({spread}) {result['unit']}",
                    f"{number(row['cpu'])} s",
                    f"{row['peak_mb']:.0f} MB",
                    str(row["n"]),
                ]
            )
    return table(head, rows)


def machine(results: list[Result]) -> str:
    """Return the table of when and where each benchmark was measured."""
    head = ["benchmark", "date (UTC)", "commit", "threads", "load", "took", "machine", "versions"]
    rows = []
    for result in results:
        where = result["where"]
        rows.append(
            [
                result["name"],
                where["date"],
                where["commit"],
                str(result["threads"]),
                str(where["load"]),
                f"{where['seconds']:.0f} s",
                f"{where['processor']}, {where['cores']} cores, {where['system']}",
                ", ".join(f"{name} {value}" for name, value in where["versions"].items()),
            ]
        )
    return table(head, rows)


def number(value: float) -> str:
    """Return three significant digits."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(results: list[Result]) -> None:
    """Draw every ratio, with its quartiles, as a share of its target."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [(result, c) for result in results for c in result["comparisons"]]
    if not rows:
        return
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.42 * len(rows)), layout="constrained")
    for place, (_, row) in enumerate(rows):
        share = [row[key] / row["target"] for key in ("low", "median", "high")]
        colour = "tab:blue" if row["met"] else "tab:red"
        axes.plot(share[::2], [place, place], color=colour, lw=3, alpha=0.4)
        axes.plot(share[1], place, "o", color=colour)
    names = [f"{r['name']}: {c['ours']} / {c['theirs'] or 'bound'}" for r, c in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="black", lw=1)
    axes.set_xlabel("measured ÷ target (left of the line: met)")
    axes.set_xlim(left=0)
    with atomic(PLOT) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
