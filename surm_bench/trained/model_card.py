"""The README.md (model card) of an exported model for the Hugging Face hub.

All numbers come from the record, except the confidence interval: it is computed from the predictions beside the record
and left out if there are none.
"""

from pathlib import Path

import pandas as pd
from huggingface_hub import EvalResult, ModelCardData

from surm_bench.config import ModelConfig, TaskConfig
from surm_bench.config.composition import choices, resolved
from surm_bench.config.places import with_places
from surm_bench.config.positive_class import positive_class, shown_metric
from surm_bench.models.families import family_of
from surm_bench.records import Record
from surm_bench.report.provenance import commit
from surm_bench.statistics.of_one_run import example_interval, interval_method
from surm_bench.trained.usage import usage

PREDICTIONS = "predictions.parquet"
KINDS = {"text": "text-classification", "image": "image-classification"}  # the hub's names, also for regression


def model_card(record: Record, run: Path, library: str) -> str:
    """Return the model card in Markdown: metadata with a model-index, then the model, its training and its scores.

    Args:
        run: the folder of the run, which may hold its predictions.
        library: the library that loads the exported folder: peft, transformers or timm.
    """
    config, interval = with_places(record.config, run), score_interval(record, run)
    base = base_model(config.model)
    data = ModelCardData(
        base_model=base,
        base_model_relation=None if base is None else ("adapter" if library == "peft" else "finetune"),
        library_name=library,
        pipeline_tag=KINDS[config.task.kind],
        datasets=[config.task.dataset] if _is_of_hub(config.task) else None,
        tags=["surm-bench", config.adapter.name],
        model_name=f"{config.model.name}-{config.task.name}-{config.adapter.name}".replace("/", "-"),
        eval_results=_results(record, config.task, interval),
    )
    body = _body(record, base or config.model.name, interval)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n{usage(config, base, library)}"


def base_model(model: ModelConfig) -> str | None:
    """Return the backbone's name on the hub, or None if its weights are not from the hub.

    Local weights (model.weights) count as the hub's if their digest is the digest declared in the model's own file.

    Args:
        model: the model part of a configuration with its places (surm_bench.config.places).
    """
    return family_of(model).hub_name(model) if _is_of_hub(model) else None


def named_base(model: ModelConfig) -> str:
    """Return the backbone's name on the hub, or its name here with the digest of its weights."""
    return base_model(model) or f"{model.name}@{model.digest}"


def _is_of_hub(config: ModelConfig | TaskConfig) -> bool:
    """Return whether weights or rows are from the hub, or local ones with the digest that the own file declares."""
    local = config.weights if isinstance(config, ModelConfig) else config.data_dir
    if config.source != "hub":
        return False
    if local is None:
        return True
    if config.name not in choices(config.group):
        return False
    declared = getattr(resolved([f"{config.group}={config.name}"]), config.group)
    return config.digest == declared.digest


def score_interval(record: Record, run: Path) -> tuple[float, float] | None:
    """Return the 95 % interval of the primary metric over test examples, or None without predictions."""
    file = run / PREDICTIONS
    if not file.is_file():
        return None
    rows = pd.read_parquet(file)
    rows = rows[rows["split"] == record.split]
    labels, predictions = rows["label"].to_numpy(), rows["prediction"].to_numpy()
    positive = positive_class(record.config.task)
    return example_interval(labels, predictions, record.primary_metric, positive=positive)


def _results(record: Record, task: TaskConfig, interval: tuple[float, float] | None) -> list[EvalResult]:
    """Return every score of the kept epoch for the model-index, which has no field for an interval but the name."""
    hub, primary = _is_of_hub(task), (record.split, record.primary_metric)
    name = "{}" if interval is None else f"{{}}, 95 % interval over test examples {_shown(interval)}"
    return [
        EvalResult(
            task_type=KINDS[task.kind],
            dataset_type=task.dataset if hub else task.name,
            dataset_name=task.name,
            dataset_config=task.subset if hub else None,
            dataset_split=_split(split, task),
            dataset_revision=task.revision if hub else None,
            metric_type=metric,
            metric_name=name.format(metric) if (split, metric) == primary else metric,
            metric_value=value,
        )
        for split, scores in record.scores.items()
        for metric, value in scores[record.kept].items()
    ]


def _split(name: str, task: TaskConfig) -> str:
    """Return the name that the task's source gives to a split of a record."""
    known = {"reported": task.eval_split, "validation": f"{task.train_split}, rows held out"}
    return (known | task.extra_eval_splits)[name]


def _shown(interval: tuple[float, float]) -> str:
    return f"{interval[0]:.4f} to {interval[1]:.4f}"


def _body(record: Record, base: str, interval: tuple[float, float] | None) -> str:
    config, metric, split = record.config, shown_metric(record.config.task), record.split
    task = config.task
    rows = {f"{metric} on {_split(split, task)}": f"{record.score:.4f} ({record.examples[split]:,} examples)"}
    if interval is not None:
        how = interval_method(record.primary_metric)
        rows["95 % interval over test examples"] = f"{_shown(interval)} ({how}; one training run, one seed)"
    counts, versions = record.parameters, record.environment
    rows |= {
        "base model": f"{base}, its weights of digest {config.model.digest}",
        "adapter parameters trained": f"{counts.adapter:,}",
        "of these needed to serve it": f"{counts.stored:,}",
        "parameters of the head": f"{counts.head:,}",
        "parameters of the whole model": f"{counts.total:,}",
        "seed": record.seed,
        "optimiser steps": f"{record.epochs[record.kept]['step']:,}",
        "record": f"`{record.run_id}`, of {record.created}",
        "commit": commit(record),
        "versions": ", ".join(f"{name} {getattr(versions, name)}" for name in ("surm_bench", "torch", "peft")),
    }
    rows |= {"command": f"`{record.command}`"} if record.command else {}
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    title = f"{config.adapter.label} on {task.name}"
    weights = {"last": "after the last step", "best": "of the best epoch, by rows held out"}[record.kept]
    return (
        f"# {title}\n\n{config.model.name} trained with {config.adapter.label} and a new head on "
        f"{task.name} by surm-bench; the weights are those {weights}.\n\n| | |\n|---|---|\n{table}\n"
    )
