"""The distance from the pretrained weights: a run's record against its saved adapter by numpy, the table by hand."""

import matplotlib.image
import numpy as np
import pytest
from safetensors.torch import load_file
from support.runs import DIGITS, folder_of, start

from surm_bench.errors import UserError
from surm_bench.models.weights import EMBEDDED
from surm_bench.studies import measurements, weights, weights_report


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of runs on digits, their records by label: LoRA with a scale of 1/2 on q, k and v, a linear probe."""
    folder = tmp_path_factory.mktemp("runs")
    lora = ["adapter=lora", "adapter.roles=[q,k,v]", "adapter.peft.lora_alpha=4", "optimizer.lr=0.01"]
    found = [start(folder, *DIGITS, *lora), start(folder, *DIGITS, "adapter=linear_probe")]
    return folder, {record.config.adapter.name: record for record in found}


def test_every_layer_against_the_saved_adapter(finished, tmp_path):
    folder, found = finished
    weights.main(tmp_path, quick=False, results_dir=folder)
    rows = measurements.read(tmp_path / "measurements.json")["changes"]
    assert [(row["role"], row["layer"]) for row in rows] == [(role, i) for i in range(4) for role in "qkv"]
    saved = load_file(folder_of(folder, found["lora"]) / "adapter" / "adapter_model.safetensors")
    fused = load_file(EMBEDDED / "vit_digits" / "model.safetensors")
    for row in rows:
        before = fused[f"blocks.{row['layer']}.attn.qkv.weight"].double().numpy().reshape(3, 64, 64)
        before = before["qkv".index(row["role"])]
        name = f"base_model.model.blocks.{row['layer']}.attn.qkv.{row['role']}"
        a, b = (saved[f"{name}.lora_{half}.weight"].double().numpy() for half in "AB")
        after = before + 0.5 * b @ a
        cosine = (after * before).sum() / np.linalg.norm(after) / np.linalg.norm(before)
        assert row["cosine_distance"] == pytest.approx(1 - cosine, rel=1e-3, abs=1e-6)
        singular = np.linalg.svd(b @ a, compute_uv=False)
        assert row["rank"] == (singular > 0.01 * singular[0]).sum() <= 8
    assert matplotlib.image.imread(tmp_path / "distance.png").shape[1] == 1600


def test_a_folder_without_a_changed_weight(tmp_path):
    with pytest.raises(UserError, match="no run that changed a query, key or value: `surm-bench reproduce demo --all`"):
        weights.main(tmp_path / "study", quick=False, results_dir=tmp_path)
    assert not (tmp_path / "study").exists()


def test_runs_on_other_parts_of_the_data_are_not_pooled(finished, capsys):
    """The helper that starts runs takes 64 training and 32 test rows."""
    lora = finished[1]["lora"]
    half = lora.having(group_id="half", run_id="half", config=lora.config.having(task={"fraction": 0.5}))
    rows = weights.changes([half, lora])
    names = {row["run_id"]: row["task"] for row in rows}
    assert names[lora.run_id] == "digits, rows_64, eval_rows_32"
    assert names["half"] == "digits, fraction_0.5, rows_64, eval_rows_32"
    assert len(rows) == 24 and "left out" not in capsys.readouterr().out


def test_only_the_newest_reported_successes_count(finished, capsys):
    lora = finished[1]["lora"]
    tuning = lora.having(config=lora.config.having(task={"validation": "tuning"}))
    older = lora.having(group_id="older", created="2001-01-01T00:00:00+00:00", run_id="older")
    rows = weights.changes([tuning, older, lora.having(status="diverged"), lora])
    assert len(rows) == 12 and {row["run_id"] for row in rows} == {lora.run_id}
    assert capsys.readouterr().out.startswith("1 finished runs are left out")


def test_the_table_by_hand():
    def row(label, seed, role, layer, distance, rank):
        cell = {"model": "m", "task": "g/t", "label": label, "seed": seed, "role": role, "layer": layer}
        return cell | {"parameters": 1000, "cosine_distance": distance, "rank": rank, "family": "LoRA"}

    rows = [row("LoRA", 0, "q", 0, 0.1, 1), row("LoRA", 0, "q", 1, 0.3, 3), row("LoRA", 1, "q", 0, 0.4, 4)]
    rows += [row("SURM", 0, "q", 0, 0.1, 64), row("SURM", 0, "v", 0, 0.2, 60)]
    table = weights_report.distance_table({"changes": rows, "runs_from": "here"})
    assert [[cell.text for cell in row] for row in table.rows] == [
        ["g/t (m)", "LoRA", "1,000", "0.300 ± 0.141", "—", "3.0 ± 1.4", "—"],  # 0.2 and 0.4; 2 and 4
        ["", "SURM", "1,000", "0.100", "0.200", "64.0", "60.0"],
    ]
    assert "t (m), nearest first: SURM 0.150, LoRA 0.267" in table.caption
