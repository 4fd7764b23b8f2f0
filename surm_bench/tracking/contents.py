"""What a tracker is sent of a run: names that people read, a score that can be compared, and the summary."""

import hashlib
from pathlib import Path
from typing import Any

from surm_bench.records.agreement import reported_split, score

TAG, NAME = 64, 128  # the most characters that W&B takes


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: the end of a longer one gives way to a digest of it all."""
    if len(text) <= most:
        return text
    return f"{text[: most - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def run_name(config: dict) -> str:
    """As ``Circulant on glue/rte, roberta_base, lr 0.002, seed 0``."""
    return shortened(f"{_configuration(config)}, seed {config['seed']}", NAME)


def group_name(config: dict, group_id: str) -> str:
    """Of all seeds of a configuration, as ``Circulant on glue/rte, roberta_base, lr 0.002 (3f2a9c81d04e)``."""
    return f"{shortened(_configuration(config), NAME - len(group_id) - 3)} ({group_id})"


def job_type(config: dict) -> str:
    """``tune`` for a trial of a search, whose score is of training rows held out; otherwise ``train``."""
    return "tune" if config["task"]["validation"] == "tuning" else "train"


def experiment_of(config: dict) -> str:
    """The folder of the results, which experiments have to themselves."""
    return Path(config["results_dir"]).resolve().name


def tags(config: dict) -> list[str]:
    """Model, task, adapter and experiment, each once."""
    names = [*(config[group]["name"] for group in ("model", "task", "adapter")), experiment_of(config)]
    return list(dict.fromkeys(shortened(name, TAG) for name in names if name))


def score_name(config: dict) -> str:
    """The name of the primary metric on what is comparable, as ``score/vit_base/images/cifar10/fraction_0.02``."""
    task = config["task"]
    sizes = {"fraction": "fraction", "shots": "shots", "max_train_samples": "rows"}
    given = [f"{name}_{task[key]:g}" for key, name in sizes.items() if task[key] is not None]
    return "/".join(["score", config["model"]["name"], task["name"], *given, *["vtab1k"] * task["vtab1k"]])


def with_score(values: dict[str, float], config: dict) -> dict[str, float]:
    """The points of one step, with the primary metric by its ``score_name`` where they are of an evaluation."""
    split = "validation" if job_type(config) == "tune" else "reported"
    found = values.get(f"eval/{split}/{config['task']['primary_metric']}")
    return values if found is None else values | {score_name(config): found}


def summary_of(record: dict) -> dict[str, Any]:
    """What describes a whole run: its scores, counts, times (ms, s) and memory (bytes). None is not to be had."""
    scores = {
        f"{epoch}/{split}/{name}": value
        for split, of_split in record["scores"].items()
        for epoch, named in of_split.items()
        for name, value in named.items()
    }
    best = record["scores"][reported_split(record)]["best"][record["primary_metric"]]
    timing = record["timing"]
    return {
        score_name(record["config"]): score(record),
        "best_" + score_name(record["config"]): best,
        **scores,
        "best/epoch": record["epochs"]["best"]["epoch"],
        **{f"parameters/{name}": count for name, count in record["parameters"].items()},
        "lora/parameters": record["baseline"]["parameters"],
        "lora/ratio": record["baseline"]["ratio"],
        "time/step_ms": timing["step_ms_median"],
        "time/train_seconds": timing["train_seconds"],
        "time/wall_seconds": timing["wall_seconds"],
        "memory/peak_bytes": record["memory"]["peak_bytes"],
    }


def _configuration(config: dict) -> str:
    label, task, model = config["adapter"]["label"], config["task"]["name"], config["model"]["name"]
    return f"{label} on {task}, {model}, lr {config['optimizer']['lr']:g}"
