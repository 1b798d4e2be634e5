"""Tables as TeX: floats that need the package booktabs and nothing else."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from vmm.benchmark.metrics.records import Metric
from vmm.paper.tables.build import Block, Cell, Row, Table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    "[": "{[}",
    "*": "{*}",
    '"': "''",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
    "’": "'",
    "\u00a0": "~",
}
# A bracket or a star at the start of a line would be an argument of the line break before.
_LAST_LATIN = "\u017f"
"""LaTeX prints characters up to here by itself, in any of its engines."""


def escape(text: str) -> str:
    """Return text that TeX prints as it is.

    Characters that LaTeX has no glyph for in its default fonts become their code, ``[U+03BC]``,
    so that the document compiles everywhere.
    """
    escaped = "".join(map(_escape_character, unicodedata.normalize("NFC", text)))
    return escaped.replace("N(0, I)", r"$\mathcal{N}(0, I)$")


def _escape_character(character: str) -> str:
    if character in _SPECIAL:
        return _SPECIAL[character]
    if unicodedata.category(character).startswith("C"):
        return " "
    if character > _LAST_LATIN or "\x7f" < character < "\u00a1":
        return f"{{[}}U+{ord(character):04X}]"
    return character


def table_tex(table: Table) -> str:
    """Return the floats of a table: one, or one a group of columns with the same number."""
    groups = table.spec.groups()
    floats = []
    for place, (name, columns) in enumerate(groups):
        caption = escape(table.caption if place == 0 else "(continued)")
        if name:
            caption += rf" \emph{{{escape(name)}.}}"
        lines = [line for block in table.blocks for line in _block_lines(block, columns)]
        header = ["Method", *(column.tex or escape(column.name) for column in columns)]
        floats.append(
            float_tex(
                caption,
                "" if place else f"tab:vmm-{table.spec.number}",
                header,
                lines,
                _notes(table, columns),
                continued=place > 0,
            )
        )
    return preamble() + "\n".join(floats)


def preamble() -> str:
    """Return the comment that opens every file."""
    return "% Needs \\usepackage{booktabs}.\n"


def float_tex(
    caption: str,
    label: str,
    header: Sequence[str],
    lines: Sequence[str],
    notes: Sequence[str] = (),
    columns: str = "",
    continued: bool = False,
) -> str:
    r"""Return a ``table`` float; everything given is TeX already.

    `lines` stand between ``\midrule`` and ``\bottomrule``, `notes` below the table. By default the
    first of the columns is left, the others right. One that is `continued` repeats the number of
    the float before.
    """
    columns = columns or "l" + "r" * (len(header) - 1)
    lines = list(lines[1:] if lines and lines[0] == r"\midrule" else lines)
    return "\n".join(
        [
            r"\begin{table}[htbp]",
            *([r"\addtocounter{table}{-1}"] if continued else []),
            r"\caption{" + caption + "}" + (rf"\label{{{label}}}" if label else ""),
            r"\scriptsize\setlength{\tabcolsep}{2pt}",
            # The box keeps a table wider than the text in the middle of the page.
            rf"\makebox[\linewidth][c]{{\begin{{tabular}}{{@{{}}{columns}@{{}}}}",
            r"\toprule",
            " & ".join(header) + r" \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}}",
            *([r"\par\smallskip\raggedright"] if notes else []),
            *(note + r"\par" for note in notes),
            r"\end{table}",
            "",
        ]
    )


def heading_tex(text: str, width: int) -> str:
    """Return the line that names a block across all columns."""
    return rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\emph{{{escape(text)}}}}} \\"


def number_tex(text: str, bold: bool = False) -> str:
    r"""Return a number as math, with ``±`` as ``\pm`` and what follows in text.

    ``diverged`` and ``n/a`` stay text.
    """
    match = re.fullmatch(r"(-?[\d.]+)(?: ± ([\d.]+))?(.*)", text)
    if match is None:
        return escape(text)
    mean, sd, rest = match.groups()
    number = mean if sd is None else rf"{mean}{{\pm}}{sd}"
    return (rf"$\mathbf{{{number}}}$" if bold else f"${number}$") + escape(rest)


def _block_lines(block: Block, columns: Sequence[Metric]) -> list[str]:
    width = 1 + len(columns)
    lines = [r"\midrule", heading_tex(block.heading, width)]
    before: Row | None = None
    for row in block.rows:
        if row.baseline and before is not None and not before.baseline:
            lines.append(rf"\cmidrule{{1-{width}}}")
        cells = [_cell_tex(row.cells[column.name]) for column in columns]
        lines.append(" & ".join([escape(row.printed_label) + _mark(row.mark), *cells]) + r" \\")
        before = row
    return lines


def _cell_tex(cell: Cell) -> str:
    return number_tex(cell.text, cell.bold) + _mark(cell.mark)


def _mark(letter: str) -> str:
    return rf"\textsuperscript{{{letter}}}" if letter else ""


def _notes(table: Table, columns: Sequence[Metric]) -> list[str]:
    """Return the footnotes of these columns, and the remarks on the whole table."""
    rows = [row for block in table.blocks for row in block.rows]
    marks = {row.cells[column.name].mark for row in rows for column in columns}
    marks |= {row.mark for row in rows}
    used = {mark: text for mark, text in table.footnotes.items() if mark in marks}
    return [
        *(rf"\textsuperscript{{{mark}}}\,{escape(text)}" for mark, text in used.items()),
        *(escape(note) for note in table.notes),
    ]
