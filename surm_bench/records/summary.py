"""The outcome of a run in one line."""

from surm_bench.config.positive_class import shown_metric
from surm_bench.records.agreement import reported_split, score


def summary(record: dict) -> str:
    """Return a line such as ``Circulant on digits (vit_digits, seed 0): accuracy 0.9700 (best epoch 0.9722), …``."""
    config, metric = record["config"], record["primary_metric"]
    what = (
        f"{config['adapter']['label']} on {config['task']['name']} ({config['model']['name']}, seed {record['seed']})"
    )
    if record["status"] != "success":
        return f"{what}: {record['status']}, {record['error']}; run {record['run_id']}"
    split = reported_split(record)
    best = record["scores"][split]["best"][metric]
    shown = shown_metric(config["task"])
    on = "" if split == "reported" else " on training rows held out"
    return (
        f"{what}: {shown} {score(record):.4f}{on} (best epoch {best:.4f}), "
        f"{record['parameters']['adapter']:,} adapter parameters, {_compared(record['baseline'])}, "
        f"{record['timing']['train_seconds']:.1f} s, run {record['run_id']}"
    )


def _compared(baseline: dict) -> str:
    """Say how many times fewer or more parameters than LoRA the adapter has."""
    ratio = baseline["ratio"]
    if ratio is None:
        return "no adapter"
    if ratio == 1:
        return f"as many as LoRA r={baseline['r']}"
    return f"{max(ratio, 1 / ratio):.1f}x {'fewer' if ratio > 1 else 'more'} than LoRA r={baseline['r']}"
