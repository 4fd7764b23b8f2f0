"""The outcome of a run, in words."""

from surm_bench.config.positive_class import shown_metric
from surm_bench.records.agreement import standard_error
from surm_bench.records.record import Baseline, Record
from surm_bench.records.store import RECORD_FILE, run_folder


def summary(record: Record) -> str:
    """Return the outcome in a line: ``Circulant on digits (vit_digits, seed 0): accuracy 0.9700 ± 0.0077 (…), …``.

    ± is the standard error of the score over the examples of its split, where it is known. The best epoch is named if
    it is not the last.
    """
    config = record.config
    what = f"{config.adapter.label} on {config.task.name} ({config.model.name}, seed {record.seed})"
    if record.status != "success":
        return f"{what}: {record.status}, {record.error}; run {record.run_id}"
    on = "" if record.split == "reported" else f" on training rows held out, lr {config.optimizer.lr:g}"
    error = standard_error(record)
    spread = "" if error is None else f" ± {error:.4f}"
    score = f"{shown_metric(config.task)} {record.score:.4f}{spread}{on}"
    best = f" (best epoch {record.best_score:.4f})" if record.best_score != record.score else ""
    return (
        f"{what}: {score}{best}, "
        f"{record.parameters.adapter:,} adapter parameters, {compared(record.baseline)}, "
        f"{record.timing.train_seconds:.1f} s, run {record.run_id}"
    )


def next_steps(record: Record, results_dir: str) -> str:
    """Say where a run lies and what can be done with it."""
    folder = run_folder(results_dir, record.run_id)
    lines = {"record": str(folder / RECORD_FILE)}
    if record.status == "success" and record.config.trainer.save_adapter:
        lines["use it"] = f"surm-bench predict {folder} INPUT, or surm-bench export {folder} FOLDER"
    lines["compare"] = f"surm-bench report --folder {results_dir}"
    return "\n".join(f"  {name:<8} {text}" for name, text in lines.items())


def compared(baseline: Baseline) -> str:
    """Say how many times fewer or more parameters than LoRA an adapter has."""
    ratio = baseline.ratio
    if ratio is None:
        return "no adapter"
    if ratio == 1:
        return f"as many as LoRA r={baseline.r}"
    return f"{max(ratio, 1 / ratio):.1f}x {'fewer' if ratio > 1 else 'more'} than LoRA r={baseline.r}"
