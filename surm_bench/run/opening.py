"""The lines that a run prints before training."""

import math

from accelerate import PartialState

from surm_bench.config import Config
from surm_bench.config.positive_class import shown_metric
from surm_bench.records.record import Baseline, Parameters
from surm_bench.records.summary import compared
from surm_bench.tasks import TaskData


def opening(config: Config, run_id: str, parameters: Parameters, baseline: Baseline, data: TaskData) -> str:
    """Return a few lines that say what is trained: model, data, parameters and steps."""
    trainer, rows = config.trainer, len(data.train)
    steps = trainer.steps(math.ceil(rows / (trainer.batch_size * PartialState().num_processes)))
    scored = ", ".join(f"{len(split):,} {name}" for name, split in data.splits.items())
    lines = {
        "model": f"{config.model.name}, {parameters.other:,} frozen parameters",
        "data": f"{rows:,} training rows; scored by {shown_metric(config.task)}: {scored}",
        "trained": f"{parameters.adapter:,} adapter parameters, {compared(baseline)}; {parameters.head:,} in the head",
        "steps": f"{steps:,} of {trainer.batch_size} rows on {PartialState().device.type}, lr {config.optimizer.lr:g}",
    }
    title = f"{config.adapter.label} on {config.task.name}, seed {config.seed}: run {run_id}"
    return "\n".join([title, *(f"  {name:<8} {text}" for name, text in lines.items())])
