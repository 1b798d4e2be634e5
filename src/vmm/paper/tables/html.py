"""Tables as HTML: fragments for the report, and pages that stand alone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from vmm.paper.tables.build import Table

if TYPE_CHECKING:
    from jinja2 import Template

TABLE_CSS = """\
.vmm-scroll { overflow-x: auto; }
.vmm-table { border-collapse: collapse; font-variant-numeric: tabular-nums; line-height: 1.35; }
.vmm-table caption { text-align: left; padding-bottom: .6em; max-width: 60em; }
.vmm-table th, .vmm-table td { padding: .25em .7em; text-align: right; white-space: nowrap; }
.vmm-table th { font-weight: normal; }
.vmm-table th[scope=row], .vmm-table thead th:first-child, .vmm-table .text { text-align: left; }
.vmm-table td.words { white-space: normal; text-align: left; }
.vmm-table thead { border-top: 2px solid; border-bottom: 1px solid; }
.vmm-table thead th[scope=colgroup] { text-align: center; }
.vmm-table th[scope=rowgroup] { text-align: left; font-style: italic; padding-top: .6em; }
.vmm-table tbody + tbody { border-top: 1px solid; }
.vmm-table tbody:last-of-type { border-bottom: 2px solid; }
.vmm-table tr.rule > * { border-top: 1px dashed; }
.vmm-table tfoot td { text-align: left; white-space: normal; font-size: .9em; }
.vmm-table sup { line-height: 0; }
"""
"""Style of every table, for the pages here and for the report."""

PAGE_CSS = """\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; }
"""

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
{{ css | safe }}</style>
</head>
<body>
<main>
{{ body | safe }}</main>
</body>
</html>
"""

TABLE = """\
<table class="vmm-table">
<caption><strong>Table {{ table.spec.number }}.</strong> {{ table.caption }}</caption>
<colgroup></colgroup>
{% for _, columns in groups %}
<colgroup span="{{ columns | length }}"></colgroup>
{% endfor %}
<thead>
{% if groups | length > 1 %}
<tr><th scope="col" rowspan="2">Method</th>
{%- for name, columns in groups -%}
<th scope="colgroup" colspan="{{ columns | length }}">{{ name }}</th>
{%- endfor %}</tr>
<tr>
{%- else %}
<tr><th scope="col">Method</th>
{%- endif %}
{%- for column in table.spec.columns -%}
<th scope="col">{{ column.metric }}</th>
{%- endfor %}</tr>
</thead>
{% for block in table.blocks %}
<tbody>
<tr><th scope="rowgroup" colspan="{{ width }}">{{ block.heading }}</th></tr>
{% for row in block.rows %}
<tr{% if row.baseline and loop.previtem and not loop.previtem.baseline %} class="rule"{% endif %}>
{{- "" }}<th scope="row">{{ row.printed_label }}
{%- if row.mark %}<sup>{{ row.mark }}</sup>{% endif %}</th>
{%- for cell in row.cells.values() -%}
<td>{% if cell.bold %}<strong>{{ cell.text }}</strong>{% else %}{{ cell.text }}{% endif %}
{%- if cell.mark %}<sup>{{ cell.mark }}</sup>{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}
</tbody>
{% endfor %}
{% if table.footnotes or table.notes %}
<tfoot>
<tr><td colspan="{{ width }}">
{%- for mark, text in table.footnotes.items() -%}
<div><sup>{{ mark }}</sup> {{ text }}</div>
{%- endfor -%}
{%- for note in table.notes -%}
<div>{{ note }}</div>
{%- endfor -%}
</td></tr>
</tfoot>
{% endif %}
</table>
"""


def table_html(table: Table) -> str:
    """Return the ``<table>`` element of a table, for a page that includes :data:`TABLE_CSS`."""
    width = 1 + len(table.spec.columns)
    return template(TABLE).render(table=table, groups=table.spec.groups(), width=width)


def page_html(title: str, body: str) -> str:
    """Return a page that needs nothing else; `body` is HTML."""
    return template(PAGE).render(title=title, body=body, css=PAGE_CSS + TABLE_CSS)


def scrollable(table: str) -> str:
    """Wrap a wide ``<table>`` so that it scrolls by itself, with the keyboard too."""
    return f'<div class="vmm-scroll" tabindex="0">\n{table}</div>\n'


@cache
def template(text: str) -> Template:
    """Compile a template; all that it prints is escaped, and what is not defined is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(text)
