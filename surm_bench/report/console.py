"""The comparison table in the terminal."""

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from surm_bench.report.tables import PROTOCOL, Table

STYLES = {"best": "bold", "second": "underline", "": ""}


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table with rich: best bold, second best underlined, published rows below a rule, caption and sources.

    Only headers are wrapped.
    """
    console = console or Console()
    several = len({column.model for column in table.columns} - {""}) > 1
    below = [table.caption, *([f"{PROTOCOL} {table.protocol}"] if table.protocol else []), *table.sources]
    caption = Text("\n".join(below))
    rich = RichTable(box=box.SIMPLE_HEAD, caption=caption, caption_justify="left")
    widths = []
    for index, column in enumerate(table.columns):
        title = f"{column.title}\n{column.model}" if column.model and several else column.title
        longest_word = max(map(len, title.split()))
        widths.append(max([longest_word, *(len(row[index].text) for row in table.rows + table.published)]))
        justify = "right" if index else "left"
        rich.add_column(title, justify=justify, vertical="bottom", min_width=widths[-1])
    for row in table.rows:
        rich.add_row(*(Text(cell.text, style=STYLES[cell.mark]) for cell in row))
    if table.published:
        rich.add_section()
    for row in table.published:
        rich.add_row(*(cell.text for cell in row))
    needed = sum(width + 2 for width in widths) + len(widths) + 1  # padding on both sides, rules between columns
    rich.width = needed if needed > console.width else None  # a wide table is better than a truncated one
    console.print(rich, crop=False)
