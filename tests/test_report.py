import io
import math
import re

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console

from surm_bench import records
from surm_bench.errors import UserError
from surm_bench.report import figures
from surm_bench.report.console import print_table
from surm_bench.report.figures import accuracy_against_parameters, learning_curves, pareto_front, side_by_side
from surm_bench.report.frames import adapter_family, runs_frame, summary_frame, task_columns
from surm_bench.report.labels import place_labels
from surm_bench.report.tables import comparison_table, to_latex, to_markdown, write_table

PEFT = {
    "LoRA r=8": {"_target_": "peft.LoraConfig", "r": 8},
    "circulant": {"_target_": "surm_bench.adapters.SurmConfig", "structure": "circulant"},
    "adapter_houlsby": {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 16, "structure": None},
    "linear probe": {"_target_": "surm_bench.adapters.LinearProbeConfig"},
}
PARAMETERS = {"LoRA r=8": 294_912, "circulant": 36_864, "adapter_houlsby": 608_640, "linear probe": 0}
ORDER = list(PEFT)


def run(label, task, seed, score, status="success", model="roberta_base", group=None):
    name = f"{model} {task} {label}"
    record = {
        "schema_version": 1,
        "run_id": f"{name} {seed}",
        "group_id": group or name,
        "status": status,
        "config": {
            "model": {"name": model},
            "task": {"name": task, "primary_metric": "accuracy"},
            "adapter": {"name": label.split()[0].lower(), "label": label, "peft": PEFT[label]},
            "optimizer": {"lr": 1e-3},
            "seed": seed,
        },
        "seed": seed,
    }
    if status == "failed":
        return record | {"error": "the loss is not finite", "metrics": None}
    count = PARAMETERS[label]
    return record | {
        "primary_metric": "accuracy",
        "metrics": {"last": {"accuracy": score, "epoch": 2}, "best": {"accuracy": score + 0.01, "epoch": 1}},
        "parameters": {"adapter": count, "head": 592_130, "other": 0, "total": 10**8, "stored": count // 2},
        "baseline": {"method": "lora", "r": 8, "parameters": 294_912, "ratio": 294_912 / count if count else None},
        "timing": {"train_seconds": 10.0 + seed, "step_ms_median": 5.0},
        "history": [{"epoch": e, "step": e, "train_loss": 1 / e, "accuracy": score * e / 2} for e in (1, 2)],
    }


@pytest.fixture
def runs():
    """rte: circulant 0.80, 0.82, 0.84 (mean 0.82, std 0.02); LoRA 0.82 twice and a failure; probe 0.5 once.
    sst2: circulant 0.90, 0.92, 0.94; LoRA 0.901, 0.905, 0.909; the bottleneck has only failed."""
    return [
        *(run("circulant", "glue/rte", seed, score) for seed, score in enumerate((0.80, 0.82, 0.84))),
        *(run("LoRA r=8", "glue/rte", seed, 0.82) for seed in (0, 1)),
        run("LoRA r=8", "glue/rte", 2, 0.0, status="failed"),
        run("linear probe", "glue/rte", 0, 0.5),
        *(run("circulant", "glue/sst2", seed, score) for seed, score in enumerate((0.90, 0.92, 0.94))),
        *(run("LoRA r=8", "glue/sst2", seed, score) for seed, score in enumerate((0.901, 0.905, 0.909))),
        run("adapter_houlsby", "glue/sst2", 0, 0.99, status="failed"),
        run("adapter_houlsby", "glue/rte", 0, 0.99, status="interrupted"),
    ]


@pytest.fixture
def summary(runs):
    return summary_frame(runs_frame(runs))


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def marks(table, column):
    index = [c.title for c in table.columns].index(column)
    return [row[index].mark for row in table.rows]


def test_runs_frame_has_every_run_and_what_it_measured(runs):
    frame = runs_frame(runs)
    assert len(frame) == len(runs)
    first = frame.iloc[0]
    assert (first["model"], first["task"], first["label"]) == ("roberta_base", "glue/rte", "circulant")
    assert (first["score"], first["best_score"], first["lora_ratio"]) == (0.80, 0.81, 8.0)
    assert (first["adapter_parameters"], first["head_parameters"], first["stored_parameters"]) == (36864, 592130, 18432)
    failed = frame[frame["status"] == "failed"]
    assert len(failed) == 2 and failed["score"].isna().all() and failed["adapter_parameters"].isna().all()
    assert np.isnan(frame.set_index("label").loc["linear probe", "lora_ratio"])


def test_summary_is_mean_and_sample_deviation_over_successful_seeds(summary):
    cells = summary.set_index(["task", "label"])
    assert len(cells) == 5 and not summary["label"].eq("adapter_houlsby").any()
    circulant = cells.loc[("glue/rte", "circulant")]
    assert circulant["mean"] == pytest.approx(0.82) and circulant["std"] == pytest.approx(0.02) and circulant["n"] == 3
    assert circulant["train_seconds"] == pytest.approx(11.0)
    lora = cells.loc[("glue/rte", "LoRA r=8")]
    assert (lora["mean"], lora["n"]) == (pytest.approx(0.82), 2) and lora["std"] == pytest.approx(0, abs=1e-12)
    assert math.isnan(cells.loc[("glue/rte", "linear probe"), "std"])


def test_two_configurations_in_one_cell_are_not_averaged(runs):
    runs.append(run("circulant", "glue/rte", 3, 0.1, group="another learning rate"))
    with pytest.raises(UserError, match="glue/rte / circulant was run in 2 configurations.*another learning rate"):
        summary_frame(runs_frame(runs))


def test_nothing_run_gives_empty_frames_and_a_table_of_dashes():
    summary = summary_frame(runs_frame([]))
    assert summary.empty
    assert texts(comparison_table(summary, ORDER)) == [[label] for label in ORDER]


@pytest.mark.parametrize("label, family", zip(ORDER, ["LoRA", "structured", "bottleneck", "other"], strict=True))
def test_family(label, family):
    assert adapter_family(PEFT[label]) == family


def test_task_columns_keep_a_models_tasks_together():
    pairs = [("clip", "b"), ("vit", "a"), ("clip", "a"), ("vit", "b"), ("vit", "c")]
    frame = pd.DataFrame(pairs, columns=["model", "task"])
    by_name = [("clip", "a"), ("clip", "b"), ("vit", "a"), ("vit", "b"), ("vit", "c")]
    assert task_columns(frame) == by_name
    assert task_columns(frame, ["c", "b"]) == [("vit", "c"), ("vit", "b"), ("clip", "b")]


def test_table_cells(summary):
    table = comparison_table(summary, ORDER)
    titles = ["Adapter", "Parameters", "× fewer than LoRA r=8", "rte", "sst2", "Average"]
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


def test_order_and_tasks_choose_rows_and_columns(summary):
    table = comparison_table(summary, ["circulant", "LoRA r=8"], ["glue/sst2", "glue/rte"])
    assert [column.title for column in table.columns][3:] == ["sst2", "rte", "Average"]
    assert [row[0].text for row in table.rows] == ["circulant", "LoRA r=8"]
    by_size = comparison_table(summary)
    assert [row[0].text for row in by_size.rows] == ["linear probe", "circulant", "LoRA r=8"]


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
        ("Parameters", "vit_digits"),
        ("× fewer th", "vit_digits"),
        ("digits", "vit_digits"),
        ("Average", ""),
    ]
    assert "rte<br>roberta_base" in to_markdown(table)
    spans = r"\multicolumn{1}{c}{} & \multicolumn{4}{c}{roberta\_base} & \multicolumn{3}{c}{vit\_digits} & \multicolumn"
    assert spans in to_latex(table)
    assert r"\cmidrule(lr){2-5} \cmidrule(lr){6-8}" in to_latex(table)


def test_markdown(summary):
    lines = to_markdown(comparison_table(summary, ORDER, tuning="Learning rate: the rule.")).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[:6]]
    assert rows[0][0] == "Adapter" and len({len(row) for row in rows}) == 1
    assert rows[2][3:] == ["**82.0 ± 0.0 (n=2)**", "<u>90.5 ± 0.4</u>", "<u>86.2</u>"]
    assert rows[5] == ["linear probe", "0", "—", "<u>50.0 (n=1)</u>", "—", "—"]
    caption = lines[-1]
    for part in ("without the task head", "last epoch", "over 3 seeds", "accuracy: glue/rte, glue/sst2", "The rule."):
        assert part.lower() in caption.lower()


def test_latex_is_balanced_escaped_booktabs(summary):
    text = to_latex(comparison_table(summary, ORDER))
    opened = re.findall(r"\\begin\{(\w+)\}", text)
    assert opened == ["table", "tabular"] and re.findall(r"\\end\{(\w+)\}", text) == opened[::-1]
    assert re.search(r"\\begin\{tabular\}\{lrrrrr\}\n\\toprule\n", text) and text.count(r"\midrule") == 1
    assert text.index(r"\toprule") < text.index(r"\midrule") < text.index(r"\bottomrule")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == 4 and all(line.count(" & ") == 5 and line.endswith(r" \\") for line in body)
    assert r"\textbf{82.0 $\pm$ 0.0 (n=2)} & \underline{90.5 $\pm$ 0.4}" in body[0]
    assert body[2] == r"adapter\_houlsby & --- & --- & --- & --- & --- \\"
    assert text.isascii() and text.count("{") == text.count("}")
    commands = text.replace(r"\_", "")
    assert "_" not in commands and "%" not in commands.removeprefix("% needs")


def test_csv_holds_the_numbers_at_full_precision(summary, tmp_path):
    paths = write_table(comparison_table(summary, ORDER), tmp_path / "new", "table")
    assert [path.name for path in paths] == ["table.md", "table.tex", "table.csv"]
    back = pd.read_csv(paths[2], float_precision="round_trip").set_index(["task", "label"])
    for cell in summary.itertuples():
        assert back.loc[(cell.task, cell.label), "mean"] == cell.mean
        assert back.loc[(cell.task, cell.label), "adapter_parameters"] == cell.adapter_parameters
    assert len(back) == len(summary)


def test_console_shows_every_cell_even_in_a_narrow_terminal(summary):
    table = comparison_table(summary, ORDER)
    for width in (40, 200):
        out = io.StringIO()
        print_table(table, Console(file=out, width=width))
        lines = out.getvalue().splitlines()
        for row in texts(table):
            assert any(all(cell in line for cell in row) for line in lines), row


def test_pareto_front_by_brute_force():
    generator = np.random.default_rng(0)
    for _ in range(50):
        parameters, scores = generator.integers(1, 6, 8).tolist(), generator.integers(0, 6, 8).tolist()
        points = list(zip(parameters, scores, strict=True))
        best = {p for p in points if not any(q != p and q[0] <= p[0] and q[1] >= p[1] for q in points)}
        front = [points[i] for i in pareto_front(parameters, scores)]
        assert front == sorted(best)


def test_side_by_side_moves_equal_counts_only():
    drawn = side_by_side(np.array([100.0, 100.0, 100.0, 1e4]), np.array([3.0, 1.0, 2.0, 0.0]))
    assert drawn[3] == pytest.approx(1e4) and drawn[2] == pytest.approx(100)
    assert drawn[1] < drawn[2] < drawn[0]
    assert drawn[0] * drawn[1] == pytest.approx(1e4)


def written_in(figure_file):
    """The texts of an SVG: matplotlib leaves each as a comment beside its glyphs (not those with a halo)."""
    return re.findall(r"<!-- (.*?) -->", figure_file.read_text())


def test_figure_files(summary, tmp_path, monkeypatch):
    placed = []

    def note(axes, texts, x, y, **style):
        placed.append(dict(zip(texts, zip(x.round(), y.round(1), strict=True), strict=True)))
        place_labels(axes, texts=texts, x=x, y=y, **style)

    monkeypatch.setattr(figures, "place_labels", note)
    tasks = ["glue/sst2", "glue/rte"]
    png, svg = accuracy_against_parameters(summary, tmp_path / "new" / "figure.png", tasks)
    assert placed == [
        {"LoRA r=8": (294912, 90.5), "circulant": (36864, 92.0)},
        {"LoRA r=8": (294912, 82.0), "circulant": (36864, 82.0)},
    ]
    pixels = matplotlib.image.imread(png)
    assert pixels.shape[1] == 1600 and pixels.std() > 0.05
    written = written_in(svg)
    assert {"sst2  (roberta_base)", "rte  (roberta_base)", "accuracy × 100", "structured", "LoRA"} <= set(written)
    assert "linear probe 50.0 (axis cut)" in written  # 30 points below adapters that span 4
    again = accuracy_against_parameters(summary, tmp_path / "again", tasks)
    assert [file.read_bytes() for file in again] == [png.read_bytes(), svg.read_bytes()]


def test_an_adapter_without_parameters_is_drawn_to_scale_when_it_is_near(tmp_path):
    scores = {"LoRA r=8": 0.8, "circulant": 0.9, "linear probe": 0.75}
    summary = summary_frame(runs_frame([run(label, "rte", 0, score) for label, score in scores.items()]))
    _, svg = accuracy_against_parameters(summary, tmp_path / "figure")
    assert "linear probe" in written_in(svg)


def test_one_point_is_a_figure_and_none_is_an_error(tmp_path):
    frame = summary_frame(runs_frame([run("circulant", "rte", 0, 0.9), run("linear probe", "sst2", 0, 0.5)]))
    _, svg = accuracy_against_parameters(frame, tmp_path / "figure")
    assert "rte  (roberta_base)" in written_in(svg) and "sst2  (roberta_base)" not in written_in(svg)
    with pytest.raises(UserError, match="no finished run"):
        accuracy_against_parameters(summary_frame(runs_frame([])), tmp_path / "nothing")
    with pytest.raises(UserError, match="no finished run"):
        learning_curves([], tmp_path / "nothing")


def test_labels_do_not_overlap():
    figure = Figure(figsize=(5, 4))
    renderer = FigureCanvasAgg(figure).get_renderer()
    axes = figure.subplots()
    x, y = np.linspace(1, 1.4, 8), np.linspace(2, 2.2, 8)
    axes.errorbar(x, y, 0.05, linestyle="", marker="o")
    axes.axis([0.5, 2.5, 1, 3])
    figure.canvas.draw()
    names = [f"method number {i}" for i in range(8)]
    place_labels(axes, x, y, names, ["black"] * 8)
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == names
    for i, box in enumerate(boxes):
        assert axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_learning_curves(runs, tmp_path):
    png, svg = learning_curves(runs, tmp_path / "curves")
    assert matplotlib.image.imread(png).shape[1] == 1600
    written = written_in(svg)
    assert {"circulant", "LoRA r=8", "linear probe", "optimiser steps"} <= set(
        written
    ) and "adapter_houlsby" not in written


def test_from_files_to_table(runs, tmp_path):
    for index, record in enumerate(runs):
        records.write(record | {"run_id": f"{index:012d}"}, tmp_path)
    (tmp_path / "runs" / "000000000000" / "record.json").write_text("{")
    loaded, problems = records.load_all(tmp_path)
    assert len(problems) == 1
    table = comparison_table(summary_frame(runs_frame(loaded)), ORDER)
    assert texts(table)[1][3] == "83.0 ± 1.4 (n=2)"  # 0.82 and 0.84: std 0.02 / sqrt(2)
