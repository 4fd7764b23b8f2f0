import numpy as np
import pandas as pd
from support.run_records import marks, texts

from surm_bench.report.ablation import ablation_table, adapters_table
from surm_bench.report.looks import method_looks
from surm_bench.report.panels import save


def test_what_a_change_of_protocol_is_worth_by_hand():
    """lora 0.5 and 0.7 (mean 0.6, sd 0.141) under the protocol, 0.8 without clipping; circulant 0.4, then 0.3; a third
    variant has run for one of them alone. The settings that were not chosen count nowhere."""
    rows = [
        ("protocol", "lora", 100, 0.5, True), ("protocol", "lora", 101, 0.7, True),
        ("protocol", "lora", 100, 0.9, False), ("protocol", "circulant", 100, 0.4, True),
        ("no clipping", "lora", 100, 0.8, True), ("no clipping", "circulant", 100, 0.3, True),
        ("half", "lora", 100, 0.1, True),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["task", "label", "seed", "score", "chosen"]).assign(metric="accuracy")
    variants = ["protocol", "half", "no clipping", "never run"]
    table = ablation_table(scores, variants, ["lora", "circulant"], [100, 101], "The rule.")
    assert texts(table) == [
        ["protocol", "60.0 ± 14.1", "40.0", "+0.0"],
        ["half", "10.0", "—", "—"],
        ["no clipping", "80.0", "30.0", "+5.0"],  # (20 − 10) / 2
        ["never run", "—", "—", "—"],
    ]
    assert marks(table, "lora") == ["", "", "best", ""] and marks(table, "circulant") == ["best", "", "", ""]
    assert "seeds 100, 101" in table.caption and table.protocol == "The rule."


def test_what_a_change_of_protocol_is_worth_is_drawn_where_it_is(tmp_path, monkeypatch):
    """One mark for each adapter and variant that was run, at its mean score × 100; a line at those of the first."""
    from surm_bench.report import ablation_figure as module

    rows = [
        ("protocol", "LoRA", 100, 0.5, True), ("protocol", "LoRA", 101, 0.7, True),
        ("protocol", "LoRA", 100, 0.9, False), ("protocol", "Circulant", 100, 0.4, True),
        ("no clipping", "Circulant", 100, 0.3, True),
    ]  # fmt: skip
    scores = pd.DataFrame(rows, columns=["task", "label", "seed", "score", "chosen"]).assign(metric="accuracy")
    drawn = []
    monkeypatch.setattr(module, "save", lambda figure, path: drawn.append(figure) or save(figure, path))
    looks = method_looks({"LoRA": "LoRA", "Circulant": "structured", "never run": "LoRA"})
    written = module.ablation_figure(scores, ["protocol", "no clipping"], looks, tmp_path / "choices.png")
    assert all(path.stat().st_size > 0 for path in written)
    axes = drawn[0].axes[0]
    marks = [bars.lines[0].get_xydata().tolist() for bars in axes.containers]
    assert marks[1] == [[40.0, 0.0], [30.0, 1.0]]
    assert marks[0][0] == [60.0, 0.0] and np.isnan(marks[0][1][0])
    lines = [line.get_xdata()[0] for line in axes.lines if list(line.get_xdata()) == [line.get_xdata()[0]] * 2]
    assert {60.0, 40.0} <= set(lines)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["LoRA", "Circulant"]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["protocol", "no clipping"]


def test_scores_that_are_shown_alike_are_both_the_best():
    rows = [("a", "lora", 100, 0.8004, True), ("b", "lora", 100, 0.8001, True), ("c", "lora", 100, 0.79, True)]
    scores = pd.DataFrame(rows, columns=["task", "label", "seed", "score", "chosen"]).assign(metric="accuracy")
    assert marks(ablation_table(scores, ["a", "b", "c"], ["lora"], [100]), "lora") == ["best", "best", ""]


def test_many_adapters_have_a_row_each_by_hand():
    rows = [
        ("LoRA", "300", 10, 0.5, float("nan")), ("LoRA", "900", 10, 0.7, 0.01), ("Circulant", "300", 20, 0.6, 0.02),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["label", "task", "adapter_parameters", "mean", "std"]).assign(metric="accuracy")
    table = adapters_table(frame, ["300", "900"], ["LoRA", "Circulant", "never run"], [100, 101], "The rule.")
    assert texts(table) == [
        ["LoRA", "10", "50.0", "70.0 ± 1.0"],
        ["Circulant", "20", "60.0 ± 2.0", "—"],
        ["never run", "—", "—", "—"],
    ]
    assert marks(table, "300") == ["", "best", ""] and marks(table, "900") == ["best", "", ""]
    assert "Change" not in table.caption and "seeds 100, 101" in table.caption
    one = adapters_table(frame, ["300"], ["LoRA"], [100], "The rule.")
    assert "from one run with the tuning seed 100" in one.caption
