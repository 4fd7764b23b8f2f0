"""Results that nobody measured, for a report: as many runs as are asked for, with all that a real record has."""

import copy
import json
from functools import cache
from itertools import islice, product
from pathlib import Path

import numpy as np
import pandas as pd

from surm_bench.records import Record
from surm_bench.report.frames import adapter_family, columns_of
from surm_bench.report.page import Results, TriedSetting

DEMO = Path(__file__).parents[2] / "results" / "demo" / "records.jsonl"
PEFT = {
    "LoRA": {"_target_": "peft.LoraConfig"},
    "Circulant": {"_target_": "surm_bench.adapters.SurmConfig", "structure": "circulant"},
    "Houlsby": {"_target_": "surm_bench.adapters.ResidualAdapterConfig", "bottleneck": 8},
    "C3A": {"_target_": "peft.C3AConfig"},
    "Subset": {"_target_": "surm_bench.adapters.SubsetConfig"},
}
METHODS = {f"{kind} {size}": 1000 * size * 2**i for i, kind in enumerate(PEFT) for size in range(5)}  # parameters
MODELS = {
    "vit_x": ("images/a", "images/b", "images/c", "images/d", "images/e"),
    "bert_x": ("glue/a", "glue/b", "glue/c"),
}
SEEDS = range(5)


@cache
def template() -> dict:
    """A record that a run made."""
    with DEMO.open(encoding="utf-8") as lines:
        return json.loads(next(lines))


def made_record(method: str, model: str, task: str, seed: int, score: float, tuning: bool = False, **fields) -> Record:
    record = copy.deepcopy(template())
    config = record["config"]
    config["model"]["name"], config["task"]["name"], config["seed"] = model, task, seed
    config["task"] |= {"validation": "tuning" if tuning else "dev", "primary_metric": "accuracy"}
    config["adapter"] |= {"label": method, "name": method.split()[0].lower(), "peft": PEFT[method.split()[0]]}
    name = f"{method} {model} {task} {seed} {fields.get('lr', '')}{tuning}"
    split, scores = ("validation" if tuning else "reported"), {"accuracy": score}
    history = [
        {"epoch": i, "step": 100 * i, "train_loss": 1 / i, "scores": {split: {"accuracy": score * (1 - 0.5**i)}}}
        for i in range(1, 11)
    ]
    count = METHODS.get(method, 1000)
    return Record.of_document(
        record
        | {
            "run_id": f"{abs(hash(name)) % 16**12:012x}",
            "group_id": f"{method} {model} {task}",
            "seed": seed,
            "status": "success",
            "primary_metric": "accuracy",
            "scores": {split: {"last": scores, "best": scores}},
            "selection": split,
            "history": history,
            "parameters": {"adapter": count, "head": 10, "other": 0, "stored": count // 2, "total": count + 10},
            "baseline": {"method": "lora", "r": 8, "parameters": 8000, "ratio": 8000 / count if count else None},
        }
        | fields
    ).having()


def made_results(folder: Path, reported: int = 1000, tuning: int = 1000) -> Results:
    """So many reported runs, and runs of tuning, of 25 methods on eight tasks of two models."""
    generator = np.random.default_rng(0)
    cells = [(method, model, task) for model, tasks in MODELS.items() for task in tasks for method in METHODS]
    means = dict(zip(cells, generator.uniform(0.5, 0.9, len(cells)), strict=True))

    def score(cell: tuple[str, str, str]) -> float:
        return means[cell] + generator.normal(0, 0.01)

    records = [
        made_record(*cell, seed, score(cell), timing={"step_ms_median": 10 + seed, "train_seconds": 5.0 + seed})
        for cell, seed in islice(product(cells, SEEDS), reported)
    ]
    trials = []
    for cell, lr in islice(product(cells, range(5)), tuning // 2):
        of_trial = [made_record(*cell, seed, score(cell), tuning=True, lr=lr) for seed in (100, 101)]
        trials.append(TriedSetting(cell[2], cell[0], f"lr={lr}", 100, lr == 0, of_trial))
    columns = list(dict.fromkeys(column for record in records for column in columns_of(record.config)))
    families = {method: adapter_family(PEFT[method.split()[0]]) for method in METHODS}
    rows = [
        {
            "task": trial.task,
            "label": trial.label,
            "metric": "accuracy",
            "setting": trial.setting,
            "steps": trial.steps,
            "full": True,
            "score": run.score,
        }
        for trial in trials
        for run in trial.records
    ]
    scores = pd.DataFrame(rows)
    return Results("made up", folder, families, columns, records, tried=trials, tuning_scores=scores)
