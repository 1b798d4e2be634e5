"""From tidy rows to what is printed: the paper's tables, the comparison, the recommendation.

`specs` declares the four tables as data, `build` fills them and decides what is bold, `write`
turns them into CSV, HTML and TeX. `comparison` sets the paper's numbers beside ours, and
`recommendation` says which method to use on one's own cells.
"""

from vmm.tables.build import Block, Cell, Row, Table, build_table
from vmm.tables.comparison import comparison, comparison_html, write_comparison
from vmm.tables.html import TABLE_CSS, table_html
from vmm.tables.recommendation import recommend, recommendation_html, write_recommendation
from vmm.tables.write import write_table

__all__ = [
    "TABLE_CSS",
    "Block",
    "Cell",
    "Row",
    "Table",
    "build_table",
    "comparison",
    "comparison_html",
    "recommend",
    "recommendation_html",
    "table_html",
    "write_comparison",
    "write_recommendation",
    "write_table",
]
