"""How far does training move each layer from its pretrained weights, and in how many directions?

surm-bench study weights: the question of the paper's Figure 11 and Appendix B.4 (arXiv 2406.17740), from the changes
of each weight in the records of finished runs (``surm_bench.adapters.change``). Without torch.
"""

from pathlib import Path

from surm_bench.adapters.roles import layer_of
from surm_bench.errors import UserError
from surm_bench.records import Record
from surm_bench.report.frames import adapter_family
from surm_bench.studies import weights_report
from surm_bench.studies.finished import method_of, newest, read_runs
from surm_bench.studies.reporting import conclude

RUNS = Path("results/demo")
ROLES = ("q", "k", "v")


def main(folder: Path, quick: bool, results_dir: Path = RUNS) -> None:
    """Read the runs of results_dir; write measurements.json, table.{md,tex,csv}, distance.{png,svg,pdf} into folder.

    Args:
        folder: where the files go.
        quick: one task only.
        results_dir: a folder with records.jsonl, or runs/<id>/record.json.

    Raises:
        UserError: no run in results_dir has changed a query, key or value.
    """
    rows = changes(read_runs(results_dir))
    if not rows:
        raise UserError(
            f"{results_dir} has no run that changed a query, key or value: `surm-bench reproduce demo --all` makes some"
        )
    if quick:
        first = (rows[0]["model"], rows[0]["task"])
        rows = [row for row in rows if (row["model"], row["task"]) == first]
    description = {"study": "weights", "runs_from": str(results_dir), "quick": quick}
    conclude(folder, description, {"changes": rows}, weights_report.distance_table, distance=weights_report.draw)


def changes(found: list[Record]) -> list[dict]:
    """Return one row per (run, layer, role) of finished runs on reported splits: 1 − cos(W + αΔW, W), and ΔW's rank.

    If a method has several configurations, the newest one counts.
    """
    keys = ("model", "task", "label")
    return [
        dict(zip(keys, method_of(record), strict=True))
        | {
            "seed": record.seed,
            "run_id": record.run_id,
            "parameters": record.parameters.adapter,
            "family": adapter_family(record.config.adapter.peft),
            "role": layer["role"],
            "layer": layer_of(layer["layer"]),
            "cosine_distance": layer["cosine_distance"],
            "rank": layer["rank"],
        }
        for record in sorted(newest(found), key=_place)
        for layer in record.change or []
        if layer["role"] in ROLES
    ]


def _place(record: Record) -> tuple[str, str, int, str, int]:
    """Return the place of a record: task by task, by parameters."""
    model, task, label = method_of(record)
    return model, task, record.parameters.adapter, label, record.seed
