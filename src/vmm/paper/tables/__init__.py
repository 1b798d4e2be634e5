"""From tidy rows to what is printed: the paper's tables.

`specs` declares the four tables as data, `build` fills them and decides what is bold, `write`
turns them into CSV, HTML and TeX.
"""

from vmm.paper.tables.build import Block, Cell, Row, Table, build_table
from vmm.paper.tables.html import TABLE_CSS, table_html
from vmm.paper.tables.write import write_table

__all__ = [
    "TABLE_CSS",
    "Block",
    "Cell",
    "Row",
    "Table",
    "build_table",
    "table_html",
    "write_table",
]
