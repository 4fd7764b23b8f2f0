"""How far does training move each layer from its pretrained weights, and in how many directions?

surm-bench study weights: the question of the paper's Figure 11 and Appendix B.4 (arXiv 2406.17740), from the changes
of each weight in the records of finished runs (``surm_bench.adapters.change``). Without torch.
"""

from pathlib import Path

from surm_bench import records
from surm_bench.adapters.roles import layer_of
from surm_bench.errors import UserError
from surm_bench.records import Record
from surm_bench.report.console import print_table
from surm_bench.report.frames import adapter_family
from surm_bench.studies import measurements, weights_report

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
    archive = records.Archive(results_dir)
    for problem in archive.problems:
        print(problem)
    rows = changes(archive.records())
    if not rows:
        raise UserError(
            f"{results_dir} has no run that changed a query, key or value: `surm-bench reproduce demo --all` makes some"
        )
    if quick:
        first = (rows[0]["model"], rows[0]["task"])
        rows = [row for row in rows if (row["model"], row["task"]) == first]
    about = {"study": "weights", "runs_from": str(results_dir), "quick": quick}
    measurements.write(folder / "measurements.json", about, changes=rows)
    print_table(weights_report.write(folder))


def changes(found: list[dict]) -> list[dict]:
    """Return one row per (run, layer, role) of finished runs on reported splits: 1 − cos(W + αΔW, W), and ΔW's rank.

    If a method has several configurations, the newest one counts.
    """
    done = [r for r in found if r.status == "success" and not r.is_tuning]
    newest = {_cell(r): r.group_id for r in sorted(done, key=lambda r: r.created)}
    chosen = [r for r in done if r.group_id == newest[_cell(r)]]
    keys = ("model", "task", "label")
    return [
        dict(zip(keys, _cell(record), strict=True))
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
        for record in sorted(chosen, key=lambda r: (*_cell(r)[:2], r.parameters.adapter, _cell(r)[2], r.seed))
        for layer in record.change or []
        if layer["role"] in ROLES
    ]


def _cell(record: Record) -> tuple[str, str, str]:
    config = record.config
    return config.model.name, config.task.name, config.adapter.label
