"""Draw the floors of the package, as pyproject.toml has them, and the journey of one job.

``python docs/pictures/floors.py`` writes ``floors.svg`` beside this file.
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSIDE = {
    "testing": "contracts, for whoever adds something",
    "paper": "tables, figures, report, comparison",
    "cli": "vmm fit",
    "benchmark": "methods, metrics, grid, jobs",
    "scvi_tools": "vmm.TOTALVI and others",
    "scvi": "vmm.SCVI",
    "plots": "arrays in, figures out",
    "training": "Algorithm 1, one or many trials, checkpoints",
    "models": "image VAE, scVI: each takes any prior",
    "priors": "one a file, with records",
    "data": "download, checks, splits; sources",
    "numerics": "Gaussians, counts, matrix products",
    "errors": "InputError: what a user can put right",
}
EVERYBODYS = "what every floor may use"
"""Inside all others; a floor of many is one box."""
JOURNEY = (
    ("config/my_cells.yaml", "checked and completed: benchmark.config"),
    ("grid", "every model of the run: benchmark.grid"),
    ("Job, Setting, Spec", "one of them, as plain values"),
    ("rule and script", "workflow/rules/train.smk, scripts/train.py"),
    ("train_trials", "reads data and splits: benchmark.jobs"),
    ("the method's made_by", "named by its record; trains"),
    ("a folder", "weights, latent, history, run.json"),
    ("evaluation", "over the records of metrics"),
    ("rows", "metrics/*.csv: one value a row"),
    ("table, figure, report", "views of the rows, with labels of records"),
)
WIDTH, TOP, FLOOR, GAP = 960, 62, 44, 6
LEFT, HOUSE = 20, 500
RIGHT, BOX = 600, 340
INK, PALE, LINE, WARM = "#1f2a37", "#eaf1f8", "#6b8bab", "#f8eef4"


def layers() -> list[list[str]]:
    """Return the floors from the top down, what stands side by side in one list."""
    tool = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["tool"]
    (floors,) = (c for c in tool["importlinter"]["contracts"] if c["id"] == "floors")
    floors = [layer.split(" | ") for layer in floors["layers"]]
    return [names if len(names) <= 2 else [", ".join(names)] for names in floors]


def text(x: float, y: float, words: str, size: int = 14, **style: str) -> str:
    """Return a line of text."""
    more = "".join(f' {key.replace("_", "-")}="{value}"' for key, value in style.items())
    return f'<text x="{x:g}" y="{y:g}" font-size="{size}"{more}>{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    """Return a box."""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="4" '
        f'fill="{fill}" stroke="{LINE}"/>'
    )


def arrow(x: float, y: float, end: float) -> str:
    """Return an arrow that points down."""
    return (
        f'<path d="M{x:g} {y:g} V{end:g}" stroke="{LINE}" stroke-width="1.6" fill="none" '
        'marker-end="url(#head)"/>'
    )


def house() -> list[str]:
    """Return the floors."""
    floors = [["workflow"], *layers()]
    notes = INSIDE | {"workflow": "Snakefile, rules, scripts: not part of the package"}
    parts = [text(LEFT, 40, "Floors: imports go down", 17, font_weight="bold")]
    for number, floor in enumerate(floors):
        y = TOP + number * (FLOOR + GAP)
        width = (HOUSE - GAP * (len(floor) - 1)) / len(floor)
        for place, name in enumerate(floor):
            x = LEFT + place * (width + GAP)
            parts.append(box(x, y, width, FLOOR, WARM if name == "workflow" else PALE))
            note = notes.get(name, EVERYBODYS)
            parts.append(text(x + 12, y + 19, name, 15, font_weight="bold"))
            parts.append(text(x + 12, y + 36, note, 11 if len(floor) > 1 else 12))
    end = TOP + len(floors) * (FLOOR + GAP) - GAP
    return [*parts, arrow(LEFT + HOUSE + 22, TOP + 4, end - 6)]


def journey(bottom: float) -> list[str]:
    """Return the way of one job, from the configuration down to the report."""
    step = (bottom - TOP + 18) / len(JOURNEY)
    height = step - 18
    parts = [text(RIGHT, 40, "The journey of one job", 17, font_weight="bold")]
    for number, (title, note) in enumerate(JOURNEY):
        y = TOP + number * step
        parts.append(box(RIGHT, y, BOX, height, "#ffffff"))
        parts.append(text(RIGHT + 12, y + 0.43 * height, title, 15, font_weight="bold"))
        parts.append(text(RIGHT + 12, y + 0.8 * height, note, 12))
        if number:
            parts.append(arrow(RIGHT + BOX / 2, y - 18, y - 6))
    return parts


def picture() -> str:
    """Return the picture as SVG."""
    bottom = TOP + (len(layers()) + 1) * (FLOOR + GAP) - GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 20}" '
        f'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" fill="{INK}">'
    )
    marker = (
        '<marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="{LINE}"/></marker>'
    )
    ground = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, marker, ground, *house(), *journey(bottom), "</svg>", ""])


if __name__ == "__main__":
    (HERE / "floors.svg").write_text(picture())
