"""The outcome of a run in one line."""

from surm_bench.config.positive_class import shown_metric
from surm_bench.records.record import Baseline, Record


def summary(record: Record) -> str:
    """Return a line such as ``Circulant on digits (vit_digits, seed 0): accuracy 0.9700 (best epoch 0.9722), …``."""
    config = record.config
    what = f"{config.adapter.label} on {config.task.name} ({config.model.name}, seed {record.seed})"
    if record.status != "success":
        return f"{what}: {record.status}, {record.error}; run {record.run_id}"
    on = "" if record.split == "reported" else " on training rows held out"
    return (
        f"{what}: {shown_metric(config.task)} {record.score:.4f}{on} (best epoch {record.best_score:.4f}), "
        f"{record.parameters.adapter:,} adapter parameters, {_compared(record.baseline)}, "
        f"{record.timing.train_seconds:.1f} s, run {record.run_id}"
    )


def _compared(baseline: Baseline) -> str:
    """Describe how many times fewer or more parameters than LoRA the adapter has."""
    ratio = baseline.ratio
    if ratio is None:
        return "no adapter"
    if ratio == 1:
        return f"as many as LoRA r={baseline.r}"
    return f"{max(ratio, 1 / ratio):.1f}x {'fewer' if ratio > 1 else 'more'} than LoRA r={baseline.r}"
