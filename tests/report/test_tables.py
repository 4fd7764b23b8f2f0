"""Cells, marks, averages and files of the comparison table, by hand."""

import io
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from support.run_records import ORDER, marks, run, texts

from surm_bench.report.console import print_table
from surm_bench.report.frames import TaskColumn, runs_frame, summary_frame
from surm_bench.report.tables import Cell, Column, Table, comparison_table, to_latex, to_markdown, write_table


def test_table_cells(summary):
    table = comparison_table(summary, ORDER)
    titles = ["Adapter", "Parameters", "× fewer than LoRA r=8 on q, v", "rte", "sst2", "Average"]
    assert [column.title for column in table.columns] == titles
    assert texts(table) == [
        ["LoRA r=8", "294,912", "1.0×", "82.0 ± 0.0 (n=2)", "90.5 ± 0.4", "86.2"],  # 86.25 is below it in binary
        ["circulant", "36,864", "8.0×", "82.0 ± 2.0", "92.0 ± 2.0", "87.0"],
        ["adapter_houlsby", "—", "—", "—", "—", "—"],
        ["linear probe", "0", "—", "50.0 (n=1)", "—", "—"],
    ]


def test_ties_are_all_best_and_the_next_is_second(summary):
    table = comparison_table(summary, ORDER)
    assert marks(table, "rte") == ["best", "best", "", "second"]
    assert marks(table, "sst2") == ["second", "best", "", ""]
    assert marks(table, "Average") == ["second", "best", "", ""]
    assert marks(table, "Parameters") == [""] * 4


def test_a_tie_is_what_looks_equal():
    scores = {"LoRA r=8": 0.81239, "circulant": 0.81161, "linear probe": 0.8114}  # 81.2, 81.2, 81.1
    summary = summary_frame(runs_frame([run(label, "rte", 0, score) for label, score in scores.items()]))
    assert marks(comparison_table(summary, list(scores)), "rte") == ["best", "best", "second"]


def test_order_and_columns_choose_rows_and_columns(summary):
    columns = [("roberta_base", "glue/sst2"), ("roberta_base", "glue/rte", "", "")]
    table = comparison_table(summary, ["circulant", "LoRA r=8"], columns)
    assert [column.title for column in table.columns][3:] == ["sst2", "rte", "Average"]
    assert [row[0].text for row in table.rows] == ["circulant", "LoRA r=8"]
    by_size = comparison_table(summary)
    assert [row[0].text for row in by_size.rows] == ["linear probe", "circulant", "LoRA r=8", "adapter_houlsby"]


def test_a_setting_that_diverged_on_a_seed_has_no_mean(diverged):
    """Not that of its other runs, and it is neither in an average nor best; on LoRA's cells nothing changes."""
    summary = summary_frame(runs_frame(diverged))
    cell = summary.set_index(["task", "label"]).loc[("glue/rte", "circulant")]
    assert np.isnan([cell["mean"], cell["std"]]).all() and (cell["n"], cell["diverged"], cell["failed"]) == (2, 1, 0)
    table = comparison_table(summary, ["LoRA r=8", "circulant", "linear probe"])
    assert [row[3:] for row in texts(table)] == [
        ["80.0 ± 14.1", "50.0 (n=1)", "65.0"],
        ["1 of 3 diverged", "60.0 (n=1)", "—"],
        ["—", "1 of 1 diverged", "—"],
    ]
    assert marks(table, "rte") == ["best", "", ""] and marks(table, "Average") == ["best", "", ""]
    assert "A setting that diverged on a seed has no mean." in table.caption and "failed" not in table.caption


def test_from_four_tasks_on_there_is_a_mean_rank():
    """By hand: circulant is first, second, first and tied; the probe lacks a task."""
    scores = {"circulant": (0.9, 0.5, 0.8, 0.7), "LoRA r=8": (0.8, 0.6, 0.7, 0.7), "linear probe": (0.1, 0.1, 0.1)}
    runs = [run(label, task, 0, s) for label, of in scores.items() for task, s in zip("wxyz", of, strict=False)]
    table = comparison_table(summary_frame(runs_frame(runs)), list(scores))
    assert [column.title for column in table.columns][-2:] == ["Average", "Mean rank"]
    assert [row[-1] for row in texts(table)] == ["1.4", "1.6", "—"]  # (1 + 2 + 1 + 1.5) / 4
    assert "The mean rank is over the tasks" in table.caption
    three = comparison_table(summary_frame(runs_frame([one for one in runs if one.config.task.name != "z"])))
    assert "Mean rank" not in [column.title for column in three.columns] and "rank" not in three.caption


def test_counts_stand_once_a_model(runs):
    runs += [run("circulant", "images/digits", 0, 0.9, model="vit_digits")]
    table = comparison_table(summary_frame(runs_frame(runs)), ORDER)
    columns = [(c.title[:10], c.model) for c in table.columns]
    assert columns == [
        ("Adapter", ""),
        ("Parameters", "roberta_base"),
        ("× fewer th", "roberta_base"),
        ("rte", "roberta_base"),
        ("sst2", "roberta_base"),
        ("Average", "roberta_base"),  # of one task there is none
        ("Parameters", "vit_digits"),
        ("× fewer th", "vit_digits"),
        ("digits", "vit_digits"),
    ]
    assert "rte<br>roberta_base" in to_markdown(table)
    spans = r"\multicolumn{1}{c}{} & \multicolumn{5}{c}{roberta\_base} & \multicolumn{3}{c}{vit\_digits} \\"
    assert spans in to_latex(table)
    assert r"\cmidrule(lr){2-6} \cmidrule(lr){7-9}" in to_latex(table)


def test_an_average_is_of_reported_splits_alone(glue):
    table = comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], seeds=2)
    assert [column.title for column in table.columns][3:] == ["mnli", "mnli-mm", "rte", "Average"]
    assert [row[3:] for row in texts(table)] == [
        ["83.0 ± 0.0", "82.0 ± 0.0", "67.0 (n=1)", "75.0"],  # (83 + 67) / 2; with mismatched it were 77.3
        ["81.0 ± 1.4", "79.5 ± 0.7", "71.0 ± 1.4", "76.0"],  # (81 + 71) / 2; deviations 2/√2 and 1/√2
    ]
    assert marks(table, "mnli-mm") == ["best", "second"] and marks(table, "Average") == ["second", "best"]
    assert "2 runs failed or stopped early" in table.caption and "over 2 seeds" in table.caption
    assert "mnli-mm" not in table.caption and "accuracy for mnli, rte" in table.caption


def test_seeds_say_what_a_cell_should_have(glue):
    table = comparison_table(summary_frame(runs_frame(glue)), ["circulant"], [("roberta_base", "glue/rte")], seeds=3)
    assert texts(table)[0][3] == "71.0 ± 1.4 (n=2)"


def test_no_average_over_fewer_tasks_than_the_others(glue):
    columns = [("roberta_base", task) for task in ("glue/mnli", "glue/rte", "glue/cola")]
    table = comparison_table(summary_frame(runs_frame(glue)), ["LoRA r=8", "circulant"], columns)
    assert [row[-2:] for row in texts(table)] == [["—", "—"], ["—", "—"]]


def test_planned_rows_and_columns_are_shown_before_anything_was_run():
    columns = [
        TaskColumn("roberta_base", "glue/mnli", metric="accuracy"),
        TaskColumn("roberta_base", "glue/mnli", split="mismatched", metric="accuracy"),
        TaskColumn("roberta_base", "glue/cola", metric="matthews_correlation"),
    ]
    table = comparison_table(summary_frame(runs_frame([])), ORDER, columns, seeds=3)
    titles = ["Adapter", "Parameters", "× fewer than LoRA r=8 on q, v", "mnli", "mnli-mm", "cola", "Average"]
    assert [column.title for column in table.columns] == titles
    assert texts(table) == [[label, *["—"] * 6] for label in ORDER]
    assert "— means that no run has finished." in table.caption
    assert "accuracy for mnli; matthews correlation for cola" in table.caption and "failed" not in table.caption


def test_each_model_and_each_setting_of_several_tasks_has_an_average():
    """vit: a 2 % 0.5, b 2 % 0.7 (mean 0.6), a 0.9, no b; clip: a 0.8, b 0.4 (mean 0.6)."""
    runs = [run("circulant", "a", 0, 0.5, model="vit", fraction=0.02), run("circulant", "a", 0, 0.9, model="vit")]
    runs += [run("circulant", "b", 0, 0.7, model="vit", fraction=0.02)]
    runs += [run("circulant", task, 0, score, model="clip") for task, score in (("a", 0.8), ("b", 0.4))]
    columns = [("vit", "a", "2 %"), ("clip", "a"), ("vit", "b", "2 %"), ("vit", "a"), ("clip", "b")]  # not in order
    table = comparison_table(summary_frame(runs_frame(runs)), None, columns)
    shown = [(c.model, c.title, cell.text) for c, cell in zip(table.columns, table.rows[0], strict=True)]
    assert [entry for entry in shown if entry[1][0] in "abA" and entry[0]] == [
        ("vit", "a 2 %", "50.0"),
        ("vit", "b 2 %", "70.0"),
        ("vit", "a", "90.0"),
        ("vit", "Average 2 %", "60.0"),
        ("clip", "a", "80.0"),
        ("clip", "b", "40.0"),
        ("clip", "Average", "60.0"),
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_compiles(beside, summary, tmp_path):
    write_table(beside, tmp_path, "wide")
    write_table(comparison_table(summary, ORDER, protocol="é Δ … & 5 % _ ~ ^ \\ {x}"), tmp_path, "plain")
    document = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{wide}\input{plain}\end{document}"
    )
    (tmp_path / "paper.tex").write_text(document)
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and (tmp_path / "paper.pdf").is_file()


def test_markdown(summary):
    lines = to_markdown(comparison_table(summary, ORDER, protocol="Learning rate: the rule.")).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert rows[0][0] == "Adapter" and len({len(row) for row in rows}) == 1
    assert rows[2][3:] == ["**82.0 ± 0.0 (n=2)**", "<u>90.5 ± 0.4</u>", "<u>86.2</u>"]
    assert rows[5] == ["linear probe", "0", "—", "<u>50.0 (n=1)</u>", "—", "—"]
    caption, blank, protocol = lines[-3:]
    assert (blank, protocol) == ("", "Protocol. Learning rate: the rule.")
    assert "3 runs failed or stopped early and are not part of any score." in caption
    for part in ("without the task head", "last step", "over 3 seeds", "accuracy for rte, sst2"):
        assert part.lower() in caption.lower()


def test_where_every_run_failed_no_number_of_seeds_is_named(runs):
    failed = [record for record in runs if record.status == "failed"]
    caption = comparison_table(summary_frame(runs_frame(failed))).caption
    assert "sample standard deviation over the seeds. Metrics" in caption and "0 seeds" not in caption


CHARACTERS = "< > ⊙ ⊗ · − – → ‖ ² ³ ᵀ α"


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs LaTeX")
def test_latex_compiles_signs(tmp_path):
    signs = Table([Column(CHARACTERS)], [[Cell(CHARACTERS)]], CHARACTERS, pd.DataFrame())
    (tmp_path / "signs.tex").write_text(to_latex(signs))
    document = r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}\input{signs}\end{document}"
    (tmp_path / "paper.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0


def test_latex_has_commands_for_signs():
    text = to_latex(Table([Column("p")], [[Cell("< 0.01")]], CHARACTERS, pd.DataFrame()))
    assert text.isascii() and "\n$<$ 0.01 \\\\\n" in text
    assert r"$<$ $>$ $\odot$ $\otimes$ $\cdot$ $-$ -- $\to$ $\|$ $^2$ $^3$ $^\top$ $\alpha$}" in text


def test_latex_is_balanced_escaped_booktabs(summary):
    text = to_latex(comparison_table(summary, ORDER))
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", "tabular"] and re.findall(r"\\end\{(\w+)\}", text) == opened[::-1]
    assert re.search(r"\\begin\{tabular\}\{lrrrrr\}\n\\toprule\n", text) and text.count(r"\midrule") == 1
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 4 and all(line.count(" & ") == 5 and line.endswith(r" \\") for line in body)
    assert r"\textbf{82.0 {\scriptsize $\pm$ 0.0 (n=2)}} & \underline{90.5 {\scriptsize $\pm$ 0.4}}" in body[0]
    assert body[2] == r"adapter\_houlsby & --- & --- & --- & --- & --- \\"
    assert text.isascii() and text.count("{") == text.count("}")
    commands = text.replace(r"\_", "")
    assert "_" not in commands and "%" not in commands.removeprefix("% needs").replace("{!}{%", "")


def test_csv_holds_the_numbers_at_full_precision(summary, tmp_path):
    paths = write_table(comparison_table(summary, ORDER), tmp_path / "new", "table")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    back = pd.read_csv(paths[2], float_precision="round_trip").set_index(["task", "label"])
    for cell in summary[summary["n"] > 0].itertuples():
        assert back.loc[(cell.task, cell.label), "mean"] == cell.mean
        assert back.loc[(cell.task, cell.label), "adapter_parameters"] == cell.adapter_parameters
    assert len(back) == len(summary) and back.loc[("glue/sst2", "adapter_houlsby"), "failed"] == 1


def test_console_shows_every_cell_even_in_a_narrow_terminal(summary):
    table = comparison_table(summary, ORDER)
    for width in (40, 200):
        out = io.StringIO()
        print_table(table, Console(file=out, width=width))
        lines = out.getvalue().splitlines()
        for row in texts(table):
            assert any(all(cell in line for cell in row) for line in lines), row
