"""The comparison table, from one frame to Markdown, LaTeX and CSV."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pandas as pd
from tabulate import tabulate

from surm_bench.records import atomic
from surm_bench.report.frames import task_columns

MISSING = "—"
CONVENTION = (
    "Parameters: trainable parameters of the adapter, without the task head; × fewer: parameters of LoRA r=8 on the "
    "same model over those of the row. Scores × 100, after the last epoch, mean ± sample standard deviation over {n}; "
    "{metrics}. Bold: best of a column, underlined: second best; {missing}: not run."
)
LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "—": "---",
    "…": r"\ldots{}",
}


@dataclass(frozen=True)
class Column:
    """A column's header; model is the backbone it speaks of, "" for the columns that speak of all."""

    title: str
    model: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and whether it is the "best" or "second" of its column."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be written: ``rows[i][j]`` belongs to ``columns[j]``; data is what it was made from."""

    columns: list[Column]
    rows: list[list[Cell]]
    caption: str
    data: pd.DataFrame  # rows of summary_frame, full precision


def comparison_table(
    summary: pd.DataFrame, order: Sequence[str] | None = None, tasks: Sequence[str] | None = None, tuning: str = ""
) -> Table:
    """Adapters against tasks.

    Args:
        summary: from summary_frame.
        order: the adapter labels, one a row, from top to bottom; None is all of them by parameters.
        tasks: the tasks, from left to right; None is all of them by name.
        tuning: how the learning rates were chosen, a sentence for the caption.
    """
    order = list(order or summary.sort_values(["adapter_parameters", "label"])["label"].unique())
    data = summary[summary["label"].isin(order)]
    data = data.sort_values("label", key=lambda labels: labels.map(order.index), kind="stable")
    pairs = task_columns(data, tasks)
    data = data[data["task"].isin([task for _, task in pairs])]
    seeds = int(data["n"].max()) if len(data) else 0

    columns, contents = [Column("Adapter")], [[Cell(label) for label in order]]
    cells = data.set_index(["model", "task", "label"])
    for model, of_model in groupby(pairs, key=lambda pair: pair[0]):
        rows = data[data["model"] == model]
        columns += [Column("Parameters", model), Column("× fewer than LoRA r=8", model)]
        contents.append([Cell(_unique(rows, label, "adapter_parameters", "{:,}".format)) for label in order])
        contents.append([Cell(_unique(rows, label, "lora_ratio", show_ratio)) for label in order])
        for _, task in of_model:
            keys = [(model, task, label) for label in order]
            found = [cells.loc[key] if key in cells.index else None for key in keys]
            texts = [MISSING if cell is None else _score(cell["mean"], cell["std"], cell["n"], seeds) for cell in found]
            columns.append(Column(task.rpartition("/")[2], model))
            contents.append(_mark(texts, [None if cell is None else cell["mean"] for cell in found]))
    if len(pairs) > 1:  # over fewer tasks an average would not be comparable
        means = data.groupby("label")["mean"].agg(["mean", "size"])
        averages = [means["mean"].get(label) if means["size"].get(label) == len(pairs) else None for label in order]
        columns.append(Column("Average"))
        contents.append(_mark([MISSING if mean is None else f"{100 * mean:.1f}" for mean in averages], averages))

    return Table(columns, [list(row) for row in zip(*contents, strict=True)], _caption(data, seeds, tuning), data)


def to_markdown(table: Table) -> str:
    """A pipe table and its caption; a header names the model where the table has several."""
    several = len({column.model for column in table.columns} - {""}) > 1
    headers = [f"{c.title}<br>{c.model}" if c.model and several else c.title for c in table.columns]
    marks = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
    rows = [[marks[cell.mark].format(cell.text.replace("|", r"\|")) for cell in row] for row in table.rows]
    align = ["left"] + ["right"] * (len(headers) - 1)
    body = tabulate(rows, headers, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)
    return f"{body}\n\n{table.caption}\n"


def to_latex(table: Table) -> str:
    r"""A ``table`` environment as wide as the text (booktabs, graphicx). Columns of one model share a header."""
    marks = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}
    spans, rules, first = [], [], 1
    for model, columns in groupby(table.columns, key=lambda column: column.model):
        width = len(list(columns))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape(model)}}}")
        rules += [rf"\cmidrule(lr){{{first}-{first + width - 1}}}"] if model else []
        first += width
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escape(table.caption)}}}",
        r"\resizebox{\textwidth}{!}{",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(spans) + r" \\",
        " ".join(rules),
        " & ".join(_escape(column.title) for column in table.columns) + r" \\",
        r"\midrule",
        *(" & ".join(marks[c.mark].format(_escape(c.text)) for c in row) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}}",
        r"\end{table}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def to_csv(table: Table) -> str:
    """Tidy raw numbers: one line per (model, task, label) at full precision, scores not multiplied."""
    return table.data.to_csv(index=False)


def write_table(table: Table, folder: str | Path, stem: str) -> list[Path]:
    """Write ``folder/stem.{md,tex,csv}`` and return their paths."""
    writers: dict[str, Callable[[Table], str]] = {"md": to_markdown, "tex": to_latex, "csv": to_csv}
    paths = [Path(folder) / f"{stem}.{suffix}" for suffix in writers]
    for path, writer in zip(paths, writers.values(), strict=True):
        with atomic(path) as temporary:
            temporary.write_text(writer(table), encoding="utf-8")
    return paths


def _mark(texts: list[str], means: list[float | None]) -> list[Cell]:
    """Best and second best as far as the table shows them: what looks equal is a tie, and all of a tie are marked."""
    shown = [None if mean is None else round(100 * mean, 1) for mean in means]
    best_first = sorted({value for value in shown if value is not None}, reverse=True)
    ranks = dict(zip(best_first, ("best", "second"), strict=False))
    return [Cell(text, ranks.get(value, "")) for text, value in zip(texts, shown, strict=True)]


def _score(mean: float, std: float, n: int, seeds: int) -> str:
    spread = "" if pd.isna(std) else f" ± {100 * std:.1f}"
    return f"{100 * mean:.1f}{spread}" + (f" (n={n})" if n < seeds else "")


def show_ratio(ratio: float | None) -> str:
    """How many times fewer, as ``8.0×``; MISSING without parameters."""
    if ratio is None or pd.isna(ratio):
        return MISSING
    return f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2g}×"


def _unique(data: pd.DataFrame, label: str, column: str, show: Callable) -> str:
    """The count of a method on a model. It may differ between tasks (image sizes): then all are shown."""
    values = data.loc[data["label"] == label, column].dropna().unique()
    return " / ".join(show(value) for value in values) or MISSING


def _caption(data: pd.DataFrame, seeds: int, tuning: str) -> str:
    names = data.groupby("metric")["task"].unique()
    metrics = "; ".join(f"{metric}: {', '.join(sorted(tasks))}" for metric, tasks in names.items()) or "no runs"
    n = f"{seeds} seed{'s' * (seeds != 1)} unless (n=…) says fewer"
    return " ".join([CONVENTION.format(n=n, metrics=metrics, missing=MISSING), tuning]).strip()


def _escape(text: str) -> str:
    return "".join(LATEX_CHARACTERS.get(character, character) for character in text)
