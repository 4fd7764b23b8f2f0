"""What a run sends to its tracker: readable names, a comparable score, and the summary."""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

from surm_bench.config import Config
from surm_bench.records import Record

SIZES = {  # keys of a task that change its data -> their names in the name of a score
    "fraction": "fraction",
    "shots": "shots",
    "max_train_samples": "rows",
    "max_eval_samples": "eval_rows",
}
TAG_LENGTH, NAME_LENGTH = 64, 128  # W&B's limits, in characters


def shortened(text: str, most: int) -> str:
    """Return a text of at most this many characters: a digest of the full text replaces the end of a longer text."""
    if len(text) <= most:
        return text
    return f"{text[: most - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def run_name(config: Config) -> str:
    """Return the name of a run, for example ``Circulant on glue/rte, roberta_base, lr 0.002, seed 0``."""
    return shortened(f"{_configuration(config)}, seed {config.seed}", NAME_LENGTH)


def group_name(config: Config, group_id: str) -> str:
    """Return the name for all seeds, for example ``Circulant on glue/rte, roberta_base, lr 0.002 (3f2a9c81d04e)``."""
    return f"{shortened(_configuration(config), NAME_LENGTH - len(group_id) - 3)} ({group_id})"


def job_type(config: Config) -> str:
    """Return ``tune`` for a trial of a search, whose score is on held-out training rows; otherwise ``train``."""
    return "tune" if config.task.validation == "tuning" else "train"


def experiment_of(config: Config) -> str:
    """Return the name of the results folder; each experiment has its own folder."""
    return Path(config.results_dir).resolve().name


def tags(config: Config) -> list[str]:
    """Return model, task, adapter and experiment, without duplicates."""
    names = [config.model.name, config.task.name, config.adapter.name, experiment_of(config)]
    return list(dict.fromkeys(shortened(name, TAG_LENGTH) for name in names if name))


def score_name(config: Config) -> str:
    """Return the score's name, equal for comparable runs, such as ``score/vit_base/images/cifar10/fraction_0.02``."""
    return "/".join(["score", config.model.name, config.task.name, *parts_of_data(config)])


def parts_of_data(config: Config) -> list[str]:
    """Return what says which part of its data a task uses, such as ``fraction_0.02``; nothing if it uses all."""
    task = config.task
    given = [f"{name}_{getattr(task, key):g}" for key, name in SIZES.items() if getattr(task, key) is not None]
    return given + ["vtab1k"] * task.vtab1k


def with_score(values: dict[str, float], config: Config) -> dict[str, float]:
    """Return the values of one step; an evaluation also has the primary metric under its ``score_name``."""
    split = "validation" if config.task.validation == "tuning" else "reported"
    score = values.get(f"eval/{split}/{config.task.primary_metric}")
    return values if score is None else values | {score_name(config): score}


def summary_of(record: Record) -> dict[str, Any]:
    """Return the summary of a whole run: scores, counts, times (ms, s) and memory (bytes). None is unavailable."""
    scores = {
        f"{epoch}/{split}/{name}": value
        for split, of_split in record.scores.items()
        for epoch, named in of_split.items()
        for name, value in named.items()
    }
    return {
        score_name(record.config): record.score,
        "best_" + score_name(record.config): record.best_score,
        **scores,
        "last/step": record.epochs["last"]["step"],
        "best/epoch": record.epochs["best"]["epoch"],
        **{f"parameters/{name}": count for name, count in asdict(record.parameters).items()},
        "lora/parameters": record.baseline.parameters,
        "lora/ratio": record.baseline.ratio,
        "time/step_ms": record.timing.step_ms_median,
        "time/train_seconds": record.timing.train_seconds,
        "time/wall_seconds": record.timing.wall_seconds,
        "memory/peak_bytes": record.memory.peak_bytes,
    }


def _configuration(config: Config) -> str:
    return f"{config.adapter.label} on {config.task.name}, {config.model.name}, lr {config.optimizer.lr:g}"
