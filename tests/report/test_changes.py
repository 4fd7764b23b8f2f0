"""The table of what training did to the weights."""

import numpy as np
import pandas as pd
import pytest
from support import made_up

from surm_bench.records import Record
from surm_bench.report.changes import changes_frame, changes_table


def record(label: str, seed: int, *layers: tuple, model: str = "m") -> Record:
    """A record with layers (role, ‖ΔW‖, ‖W‖, rank, stable rank, 1 − cos)."""
    names = ("role", "norm", "weight_norm", "rank", "stable_rank", "cosine_distance")
    made = made_up.record(seed=seed, change=[dict(zip(names, layer, strict=True)) for layer in layers])
    config = made.config.having(model={"name": model}, task={"name": "glue/cola"}, adapter={"label": label}, seed=seed)
    return made.having(config=config)


RECORDS = [
    record("A", 0, ("q", 1.0, 10.0, 4, 2.0, 0.01), ("q", 3.0, 10.0, 6, 4.0, 0.03), ("v", 1.0, 2.0, 8, 5.0, 0.5)),
    record("A", 1, ("q", 2.0, 10.0, 5, 3.0, 0.02), ("q", 2.0, 10.0, 5, 3.0, 0.02), ("v", 1.0, 4.0, 2, 1.0, 0.1)),
    record("probe", 0),
    record("B", 0, ("k", 1.0, 1.0, 1, 1.0, 0.0)).having(change=None),
]


def test_means_are_over_layers_of_a_role_then_over_all_of_them():
    frame = changes_frame(RECORDS).set_index(["label", "seed", "role"])
    assert list(frame.index) == [("A", 0, "q"), ("A", 0, "v"), ("A", 1, "q"), ("A", 1, "v")]
    assert frame.loc[("A", 0, "q"), ["layers", "rank", "relative_norm"]].tolist() == pytest.approx([2, 5, 0.2])
    table = changes_table(RECORDS, ["probe", "A"])
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["cola", "A", "q v", "5.0", "3.0", f"{np.mean([0.1, 0.3, 0.5, 0.2, 0.2, 0.25]):.3f}", "0.1133"]
    ]
    pd.testing.assert_frame_equal(table.data, changes_frame(RECORDS))


def test_models_have_rows_of_their_own():
    small, large = (record("A", 0, ("q", 1.0, 10.0, rank, 2.0, 0.01), model=f"m{rank}") for rank in (2, 10))
    table = changes_table([small, large], ["A"])
    assert [column.title for column in table.columns][:3] == ["Model", "Task", "Adapter"]
    rows = [[cell.text for cell in row][:5] for row in table.rows]
    assert rows == [["m2", "cola", "A", "q", "2.0"], ["m10", "cola", "A", "q", "10.0"]]
    other = large.having(config=large.config.having(task={"name": "glue/rte"}))
    assert changes_table([small, other], ["A"]).columns[0].title == "Task", "each task has one model"


def test_what_a_layer_does_not_have_is_left_out_of_its_mean_alone():
    """1 − cos: (0.1 + 0.1 + 0.4) / 3 by hand; ‖ΔW‖/‖W‖: (0.1 + 0.1 + 0.1) / 3 without the weight of norm 0."""
    layers = [("q", 1.0, 10.0, 4, 2.0, None), *[("q", 1.0, 10.0, 4, 2.0, 0.1)] * 2, ("v", 1.0, 0.0, 8, 2.0, 0.4)]
    table = changes_table([record("A", 0, *layers)], ["A"])
    assert [cell.text for cell in table.rows[0]] == ["cola", "A", "q v", "5.0", "2.0", "0.100", "0.2000"]
    (alone,) = changes_table([record("A", 0, layers[-1])], ["A"]).rows
    assert [cell.text for cell in alone][-2:] == ["—", "0.4000"]
    (alone,) = changes_table([record("A", 0, layers[0])], ["A"]).rows
    assert [cell.text for cell in alone][-2:] == ["0.100", "—"]


def test_without_a_changed_weight_there_is_no_table():
    assert changes_table(RECORDS[2:], ["probe", "B"]) is None
    assert changes_table([], []) is None
