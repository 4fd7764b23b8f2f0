"""How close do adapters come to full fine-tuning? CKA and cosine of the changes of q and v, and of the features.

make study-cka: the question of the paper's Table 8 (arXiv 2406.17740), from the saved adapters of finished runs.
"""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from peft import PeftModel

from surm_bench import records
from surm_bench.config import Config
from surm_bench.errors import UserError
from surm_bench.models.weights import readable
from surm_bench.records import Record
from surm_bench.run.build import build
from surm_bench.run.loading import evaluate, load_run
from surm_bench.studies import cka_report
from surm_bench.studies.cka_models import AdaptedModel, deltas, features, pretrained, random_like, weights
from surm_bench.studies.finished import method_of, newest, read_runs
from surm_bench.studies.reporting import conclude
from surm_bench.studies.similarity import cosine, debiased_cka, linear_cka, relative_norm
from surm_bench.system import environment
from surm_bench.tasks import TaskData
from surm_bench.training import evaluation_loader

RUNS = Path("outputs/demo")
FULL = "full"
ADAPTERS = ("lora", "circulant", "symmetric_toeplitz", "toeplitz", "kronecker", "ldr")  # names in configs/adapter
TOLERANCE = 0.02  # of a repeated score: other hardware may round an example to the other side
MAKE = "`surm-bench reproduce demo --all` makes them"


def main(folder: Path, quick: bool, results_dir: Path = RUNS) -> None:
    """Compare all adapters with full fine-tuning for each task with runs of both in results_dir; write into folder.

    Args:
        folder: where measurements.json, table.{md,tex,csv} and similarity.{png,svg,pdf} go.
        quick: one task and two seeds only.
        results_dir: its ``runs`` hold records and saved adapters.

    Raises:
        UserError: no task has both a run of an adapter and a run of full fine-tuning with another seed.
    """
    compared = [compare(runs, results_dir) for runs in runs_by_task(read_runs(results_dir), results_dir, quick)]
    compared = [one for one in compared if any(cka_report.counts(pair) for pair in one["pairs"])]
    if not compared:
        raise UserError(
            f"{results_dir}/runs has no task with saved runs of full fine-tuning and, with another seed, of "
            f"{', '.join(ADAPTERS[:-1])} or {ADAPTERS[-1]}: {MAKE}"
        )
    tables = {name: [row for one in compared for row in one[name]] for name in ("tasks", "runs", "pairs")}
    description = {
        "study": "cka",
        "runs_from": str(results_dir),
        "quick": quick,
        "environment": environment.describe(),
    }
    conclude(folder, description, tables, cka_report.similarity_table, similarity=cka_report.draw)


def runs_by_task(found: list[Record], results_dir: Path, quick: bool) -> Iterator[list[Record]]:
    """Yield the records to compare, one list per (model, task), in the order of ADAPTERS; print missing methods.

    A run's method is read from its record. If a method has several configurations, the newest one counts.
    """
    wanted = (FULL, *ADAPTERS)
    compared = newest(record for record in found if record.config.adapter.name in wanted)
    seeds = sorted({record.seed for record in compared})[: 2 if quick else None]
    tasks = [(key, list(runs)) for key, runs in groupby(sorted(compared, key=_task), key=_task)]
    for (model, task), runs in tasks[: 1 if quick else None]:
        saved = [r for r in runs if r.seed in seeds and (_adapter(r, results_dir) / "adapter_config.json").is_file()]
        if missing := [name for name in wanted if name not in {r.config.adapter.name for r in saved}]:
            print(f"{task} ({model}): no saved run of {', '.join(missing)} in {results_dir}/runs: {MAKE}")
        if FULL not in missing:
            yield sorted(saved, key=lambda r: (wanted.index(r.config.adapter.name), r.parameters.adapter, r.seed))


def compare(runs: list[Record], results_dir: Path) -> dict[str, list[dict]]:
    """Compare every method and every reference with every run of full fine-tuning, for one model and task.

    The references: full fine-tuning with another seed, which is as close as training comes to itself; random ΔW as
    large as full fine-tuning's; and the pretrained model.

    Returns:
        Rows of the tables of measurements.json: tasks (one), runs (the readable ones) and pairs.
    """
    used, methods, full, pairs = [], [], [], []
    for run, model, data, config in _readable(runs, results_dir):
        if not used:
            backbone, _ = build(config)
            loader = evaluation_loader(data.splits["reported"], data.collate, config.trainer)
        module, adapter = model.get_base_model(), run.config.adapter
        tuned = AdaptedModel(adapter.label, run.seed, deltas(module, backbone), features(module, backbone, loader))
        (full if adapter.name == FULL else methods).append(tuned)
        used.append({"run_id": run.run_id, "label": tuned.label, "seed": tuned.seed, "score": run.score})
    if full:
        before = weights(backbone)
        randoms = [random_like(cka_report.RANDOM, one, backbone, loader) for one in full]
        references = [*full, *randoms, pretrained(cka_report.PRETRAINED, backbone, loader)]
        pairs = [
            {"reference": reference} | similarities(one, other, before)
            for reference, group in ((False, methods), (True, references))
            for one in group
            for other in full
            if one is not other
        ]
    key = dict(zip(("model", "task"), _task(runs[0]), strict=True))
    about = {"metric": runs[0].primary_metric, "layers": list(full[0].deltas) if full else []}
    return {"tasks": [key | about], "runs": [key | run for run in used], "pairs": [key | pair for pair in pairs]}


def _readable(runs: list[Record], results_dir: Path) -> Iterator[tuple[Record, PeftModel, TaskData, Config]]:
    """Yield each record with its result of load_run; print and leave out a run that load_run cannot read.

    A model whose score differs from its record is left out, too: PEFT only warns if an adapter lacks tensors.
    """
    for run in runs:
        adapter = _adapter(run, results_dir)
        try:
            with readable(adapter):
                model, data, config = load_run(adapter.parent)
            score = evaluate(model, data, config)[run.primary_metric]
            if abs(score - run.score) > TOLERANCE:
                raise UserError(f"{adapter} scores {score:.3f}, but its record has {run.score:.3f}")
        except UserError as error:
            print(f"{run.config.adapter.label} with seed {run.seed} is left out: {error}")
        else:
            yield run, model, data, config


def similarities(one: AdaptedModel, full: AdaptedModel, weights: dict[str, np.ndarray]) -> dict:
    """Return the measures of a pair: lists by layer, and one number for the features; NaN where there is no value."""
    layers = [(weight, one.deltas[name], full.deltas[name]) for name, weight in weights.items()]
    return {
        "label": one.label,
        "seed": one.seed,
        "full_seed": full.seed,
        "cka_weights": [linear_cka(w + a, w + b) for w, a, b in layers],
        "cka_delta": [linear_cka(a, b) for _, a, b in layers],
        "debiased_cka_delta": [debiased_cka(a, b) for _, a, b in layers],
        "cosine_delta": [cosine(a, b) for _, a, b in layers],
        "relative_norm_delta": [relative_norm(a, b) for _, a, b in layers],
        "cka_features": linear_cka(one.features, full.features),
    }


def _adapter(record: Record, results_dir: Path) -> Path:
    return records.run_folder(results_dir, record.run_id) / "adapter"


def _task(record: Record) -> tuple[str, str]:
    return method_of(record)[:2]
