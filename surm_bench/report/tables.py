"""The comparison table: from one frame to Markdown, LaTeX and CSV."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd
from tabulate import tabulate

from surm_bench.metrics import Metric
from surm_bench.report.frames import CELL, TaskColumn, one_measure, task_columns
from surm_bench.report.published import OTHER_METRIC, Published, PublishedRows
from surm_bench.system.atomic import atomic

MISSING = "—"
PROTOCOL = "Protocol."
CONVENTION = (
    "Parameters are those of the adapter, without the task head; × fewer compares them with LoRA r=8 on q and v. "
    "Scores are × 100, after the last step: mean ± sample standard deviation over {n}. Metrics: {metrics}. In each "
    "column the best score is bold and the second best underlined. {missing} means that no run has "
    "finished."
)
F1 = "F1 is that of class 1."
AVERAGES = "An average is over the reported splits of the tasks, and is shown if every task has a score."
LOWER = "A lower {metrics} is better."
IN_UNITS = "Scores of {metrics} are not multiplied by 100."
MIXED = "There is no average over tasks whose scores have different units or directions (higher or lower is better)."
RANKS = "The mean rank is over the tasks, among the methods with a score on every task. It is not a statistical test."
FAILED = "{n} run{s} failed or stopped early and {are} not part of any score."
DIVERGED = "A setting that diverged on a seed has no mean."
PUBLISHED = (
    "Published rows repeat the numbers of the sources below, and are never marked as best ({missing} means not given). "
    "{other_metric} marks a score of another metric than the column's."
)
LATEX_CHARACTERS = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "⊙": r"$\odot$",
    "⊗": r"$\otimes$",
    "−": "$-$",
    "<": "$<$",  # < and > are other characters in LaTeX's default encoding of text
    ">": "$>$",
    "→": r"$\to$",
    "‖": r"$\|$",
    "²": "$^2$",
    "³": "$^3$",
    "ᵀ": r"$^\top$",
    "α": r"$\alpha$",
    "Δ": r"$\Delta$",
    "†": r"$^\dagger$",
    "–": "--",
    "—": "---",
    "…": r"\ldots{}",
}
MARKDOWN_MARKS = {"best": "**{}**", "second": "<u>{}</u>", "": "{}"}
LATEX_MARKS = {"best": r"\textbf{{{}}}", "second": r"\underline{{{}}}", "": "{}"}


@dataclass(frozen=True)
class Column:
    """The header of a column; model is its backbone, "" for a column that applies to all models."""

    title: str
    model: str = ""


@dataclass(frozen=True)
class Cell:
    """The text of a cell, and its mark: "best" or "second" of its column, or none."""

    text: str
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """A table ready to be written: ``rows[i][j]`` and ``published[i][j]`` belong to ``columns[j]``.

    Attributes:
        columns: the headers, from left to right.
        rows: the measured rows.
        caption: the text below the table.
        data: the data behind the rows, at full precision.
        published: rows below a rule, with results of other authors.
        sources: the sources of the published rows, one line each.
        protocol: how settings were chosen and where the runs come from; printed below the table, after its caption.
    """

    columns: list[Column]
    rows: list[list[Cell]]
    caption: str
    data: pd.DataFrame
    published: list[list[Cell]] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    protocol: str = ""


def comparison_table(
    summary: pd.DataFrame,
    order: Sequence[str] | None = None,
    columns: Sequence[TaskColumn | tuple[str, ...]] | None = None,
    protocol: str = "",
    seeds: int | None = None,
    published: Published | None = None,
) -> Table:
    """Return the table of adapters against tasks, with an average for each model and setting that has several tasks.

    Args:
        summary: from summary_frame.
        order: the adapter labels, one per row, from top to bottom; None is all adapters, sorted by parameters.
        columns: the columns, each (model, task, setting, split) or a TaskColumn, from left to right within a model;
            None is every column with a run. Rows and columns without a run are shown as missing.
        protocol: sentences on how settings were chosen and where the runs come from.
        seeds: the number of seeds that a cell should have; None is the largest number in any cell.
        published: results to show below the measured ones; results without a score in any column are left out.
    """
    order = list(order or summary.sort_values(["adapter_parameters", "label"])["label"].unique())
    columns = _with_metrics([TaskColumn(*column) for column in columns or task_columns(summary)], summary)
    keys = {column.key for column in columns}
    rows = zip(*(summary[name] for name in CELL), strict=True)
    data = summary.loc[[label in order and tuple(key) in keys for *key, label in rows]]
    data = data.sort_values("label", key=lambda labels: labels.map(order.index), kind="stable")
    seeds = seeds or (int(data["n"].max()) if len(data) else 0)
    others = PublishedRows(published or Published(), columns)

    parts = [(Column("Adapter"), _cells(order), _cells(others.labels()))]
    for model in dict.fromkeys(column.model for column in columns):
        of_model = [column for column in columns if column.model == model]
        parts += _counts(data[data["model"] == model], model, order, others)
        parts += _scores(data[(data["n"] > 0) | (data["diverged"] > 0)], of_model, order, seeds, others)
    headers, contents, others_contents = zip(*parts, strict=True)
    return Table(
        list(headers),
        [list(row) for row in zip(*contents, strict=True)],
        _caption(data, columns, seeds, others, any(header.title.startswith("Mean rank") for header in headers)),
        data,
        [list(row) for row in zip(*others_contents, strict=True)],
        others.references(),
        protocol,
    )


def to_markdown(table: Table) -> str:
    """Return a pipe table with its caption and sources; headers name the model if the table has several models."""
    several = len({column.model for column in table.columns} - {""}) > 1
    headers = [f"{c.title}<br>{c.model}" if c.model and several else c.title for c in table.columns]
    rows = [
        [MARKDOWN_MARKS[c.mark].format(c.text.replace("|", r"\|")) for c in row] for row in table.rows + table.published
    ]
    if table.published:
        rows.insert(len(table.rows), ["*published*"] + [""] * (len(headers) - 1))
    align = ["left"] + ["right"] * (len(headers) - 1)
    body = tabulate(rows, headers, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)
    sources = "".join(f"\n- {source}" for source in table.sources)
    protocol = f"\n{PROTOCOL} {table.protocol}\n" if table.protocol else ""
    return f"{body}\n\n{table.caption}\n{protocol}{sources}\n".rstrip("\n") + "\n"


def to_latex(table: Table) -> str:
    r"""Return a ``table`` environment no wider than the text (booktabs, graphicx). A model's columns share a header."""
    spans, rules, first = [], [], 1
    for model, columns in groupby(table.columns, key=lambda column: column.model):
        width = len(list(columns))
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_escape(model)}}}")
        rules += [rf"\cmidrule(lr){{{first}-{first + width - 1}}}"] if model else []
        first += width
    lines = [
        r"% needs \usepackage{booktabs,graphicx}",
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{\footnotesize {_escape(table.caption)}}}",
        r"\resizebox{\ifdim\width>\textwidth\textwidth\else\width\fi}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        " & ".join(spans) + r" \\",
        " ".join(rules),
        " & ".join(_latex_title(column.title) for column in table.columns) + r" \\",
        r"\midrule",
        *map(_latex_row, table.rows),
        *([r"\midrule", *map(_latex_row, table.published)] if table.published else []),
        r"\bottomrule",
        r"\end{tabular}}",
        *([rf"% {PROTOCOL} {table.protocol}"] if table.protocol else []),
        *(rf"\par\smallskip\parbox{{\textwidth}}{{\raggedright {_escape(source)}}}" for source in table.sources),
        r"\end{table}",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def to_csv(table: Table) -> str:
    """Return tidy raw numbers: one line per cell that was run, at full precision, scores not multiplied by 100."""
    return table.data.to_csv(index=False)


def write_table(table: Table, folder: str | Path, stem: str) -> list[Path]:
    """Write ``folder/stem.{md,tex,csv}`` and return their paths."""
    writers: dict[str, Callable[[Table], str]] = {"md": to_markdown, "tex": to_latex, "csv": to_csv}
    paths = [Path(folder) / f"{stem}.{suffix}" for suffix in writers]
    for path, writer in zip(paths, writers.values(), strict=True):
        with atomic(path) as temporary:
            temporary.write_text(writer(table), encoding="utf-8")
    return paths


def marks(shown: Sequence[float | None], lowest: bool = False) -> list[str]:
    """Return the mark of each cell of a column: "best", "second" or none.

    Args:
        shown: values rounded as the table shows them; equal values are a tie, and every value of a tie is marked.
        lowest: whether the lowest value is the best.
    """
    best_first = sorted({value for value in shown if value is not None}, reverse=not lowest)
    ranks = dict(zip(best_first, ("best", "second"), strict=False))
    return [ranks.get(value, "") for value in shown]


def marks_of(means: Sequence[float | None], measure: Metric) -> list[str]:
    """Return the mark of each mean score of a metric, in a column that shows scores as the metric says."""
    shown = [None if mean is None else float(measure.show(mean)) for mean in means]
    return marks(shown, lowest=not measure.greater_is_better)


def show_ratio(ratio: float | None) -> str:
    """Return how many times fewer parameters, for example ``8.0×``; MISSING without parameters."""
    if ratio is None or pd.isna(ratio):
        return MISSING
    return f"{ratio:.1f}×" if ratio >= 0.95 else f"{ratio:.2g}×"


Part = tuple[Column, list[Cell], list[Cell]]  # a column: its header, the measured cells and the published cells


def _counts(data: pd.DataFrame, model: str, order: Sequence[str], others: PublishedRows) -> list[Part]:
    """Return the adapters' parameters on a model, and how many times fewer they are than LoRA's."""
    parameters = [_unique(data, label, "adapter_parameters", "{:,}".format) for label in order]
    ratios = [_unique(data, label, "lora_ratio", show_ratio) for label in order]
    none = _cells([None] * len(others.results))
    return [
        (Column("Parameters", model), _cells(parameters), _cells(others.parameters(model))),
        (Column("× fewer than LoRA r=8 on q, v", model), _cells(ratios), none),
    ]


def _scores(
    measured: pd.DataFrame, columns: Sequence[TaskColumn], order: Sequence[str], seeds: int, others: PublishedRows
) -> Iterator[Part]:
    """Yield the columns of one model, then the averages of each setting that has several tasks."""
    cells = measured.set_index(CELL)[["mean", "std", "n", "diverged"]].to_dict("index")
    for column in columns:
        in_order = [cells.get((*column.key, label)) for label in order]
        texts = [cell and _score(**cell, seeds=seeds, measure=column.measure) for cell in in_order]
        marked = _marked(texts, [cell and _mean(cell) for cell in in_order], column.measure)
        yield Column(column.title, column.model), marked, _cells(others.scores(column))
    for setting, tasks in averaged(columns).items():
        rows = [[cells.get((*column.key, label)) for column in tasks] for label in order]
        scores = [[cell and _mean(cell) for cell in row] for row in rows]
        if one_measure(tasks):
            means, measure = [average(row) for row in scores], tasks[0].measure
            marked = _marked([None if mean is None else measure.show(mean) for mean in means], means, measure)
            yield Column(f"Average {setting}".rstrip(), tasks[0].model), marked, _cells(others.averages(tasks))
        if any(ranks := _ranks(scores, tasks)):
            yield (
                Column(f"Mean rank {setting}".rstrip(), tasks[0].model),
                _cells(ranks),
                _cells([None] * len(others.results)),
            )


def averaged(columns: Sequence[TaskColumn]) -> dict[str, list[TaskColumn]]:
    """Return the columns of one model to average or rank over, by setting: those of the reported split.

    A setting with a single task is left out. Scores with different directions or units (one_measure) have no average.
    """
    reported = [column for column in columns if not column.split]
    settings = dict.fromkeys(column.setting for column in reported)
    by_setting = {setting: [column for column in reported if column.setting == setting] for setting in settings}
    return {setting: tasks for setting, tasks in by_setting.items() if len(tasks) > 1}


def average(means: Sequence[float | None]) -> float | None:
    """Return the mean, or None if a task is missing: averages over different tasks are not comparable."""
    return None if None in means else sum(means) / len(means)


def _ranks(means: Sequence[Sequence[float | None]], tasks: Sequence[TaskColumn]) -> list[str | None]:
    from surm_bench.statistics import mean_ranks  # imports scipy, only when needed

    signs = [task.measure.sign for task in tasks]
    ranks = mean_ranks(np.array(means, float) * signs)
    return [None if pd.isna(rank) else f"{rank:.1f}" for rank in ranks]


def _mean(cell: dict) -> float | None:
    """Return the mean score, or None if a run diverged."""
    return None if cell["diverged"] else cell["mean"]


def _cells(texts: Iterable[str | None], marks: Iterable[str] | None = None) -> list[Cell]:
    texts = list(texts)
    return [Cell(text or MISSING, mark) for text, mark in zip(texts, marks or [""] * len(texts), strict=True)]


def _marked(texts: list[str | None], means: list[float | None], measure: Metric) -> list[Cell]:
    return _cells(texts, marks_of(means, measure))


def _score(mean: float, std: float, n: int, diverged: int, seeds: int, measure: Metric) -> str:
    if diverged:
        return f"{diverged} of {n + diverged} diverged"
    spread = "" if pd.isna(std) else f" ± {measure.show(std)}"
    return f"{measure.show(mean)}{spread}" + (f" (n={n})" if n < seeds else "")


def _unique(data: pd.DataFrame, label: str, column: str, show: Callable) -> str:
    """Return the count of a method on a model. If the count differs between tasks (image sizes), return all values."""
    values = data.loc[data["label"] == label, column].dropna().unique()
    return " / ".join(show(value) for value in values) or MISSING


def _with_metrics(columns: Sequence[TaskColumn], summary: pd.DataFrame) -> list[TaskColumn]:
    """Return the columns with the metrics of their runs, which know the class names; without a run, unchanged."""
    known = {column.key: column.metric for column in task_columns(summary)}
    return [column._replace(metric=known.get(column.key, column.metric)) for column in columns]


def _caption(
    data: pd.DataFrame, columns: Sequence[TaskColumn], seeds: int, others: PublishedRows, has_ranks: bool
) -> str:
    by_metric: dict[str, list[str]] = {}
    for column in columns:
        if column.metric and not column.split:
            by_metric.setdefault(column.metric.replace("_", " "), []).append(column.task.rpartition("/")[2])
    listed = "; ".join(f"{metric} for {', '.join(dict.fromkeys(tasks))}" for metric, tasks in sorted(by_metric.items()))
    n = f"{seeds} seed{'s' * (seeds != 1)}, or fewer where (n=…) is given" if seeds else "the seeds"
    sentences = [CONVENTION.format(n=n, metrics=listed or "no runs", missing=MISSING)]
    if lower := _metrics(columns, lambda measure: not measure.greater_is_better):
        sentences.append(LOWER.format(metrics=lower))
    if in_units := _metrics(columns, lambda measure: not measure.percent):
        sentences.append(IN_UNITS.format(metrics=in_units))
    if "f1" in by_metric:
        sentences.append(F1)
    if len(columns) > len({column.model for column in columns}):
        sentences.append(AVERAGES)
    models = dict.fromkeys(column.model for column in columns)
    groups = [group for model in models for group in averaged([c for c in columns if c.model == model]).values()]
    if not all(map(one_measure, groups)):
        sentences.append(MIXED)
    if has_ranks:
        sentences.append(RANKS)
    if failed := int(data.loc[data["split"] == "", "failed"].sum()):  # a run counts once, even if it has several splits
        sentences.append(FAILED.format(n=failed, s="s" * (failed != 1), are="are" if failed != 1 else "is"))
    if data["diverged"].any():
        sentences.append(DIVERGED)
    if others.results:
        sentences.append(PUBLISHED.format(other_metric=OTHER_METRIC, missing=MISSING))
    return " ".join(sentences)


def _metrics(columns: Sequence[TaskColumn], chosen: Callable[[Metric], bool]) -> str:
    """Return the names of the chosen metrics among those of the columns, in words."""
    names = {column.metric.replace("_", " ") for column in columns if chosen(column.measure)}
    return " or ".join(sorted(names))


def _latex_title(title: str) -> str:
    """Return the title, broken into lines if it would make its column wide."""
    lines = r"\\".join(_escape(line) for line in wrap(title, 16))
    return rf"\shortstack[r]{{{lines}}}" if r"\\" in lines else lines


def _latex_row(row: Sequence[Cell]) -> str:
    return " & ".join(LATEX_MARKS[cell.mark].format(_latex_score(cell.text)) for cell in row) + r" \\"


def _latex_score(text: str) -> str:
    """Return the score with the deviation, and all after it, in smaller type than the mean."""
    mean, sign, spread = _escape(text).partition(r" $\pm$ ")
    return rf"{mean} {{\scriptsize $\pm$ {spread}}}" if sign else mean


def _escape(text: str) -> str:
    return "".join(LATEX_CHARACTERS.get(character, character) for character in text)
