"""Load the model of a finished run, with its data or without, and evaluate it."""

from pathlib import Path

import numpy as np
import torch
from peft import PeftModel

from surm_bench import records
from surm_bench.adapters.build import without_known_warnings
from surm_bench.config import Config
from surm_bench.errors import UserError
from surm_bench.models import Backbone
from surm_bench.run.build import build, build_model
from surm_bench.tasks import TaskData, TaskReader, objective_for
from surm_bench.training import evaluation_loader, make_accelerator, predict


def load_run(
    folder: str | Path, config: Config | None = None, reader: TaskReader | None = None
) -> tuple[PeftModel, TaskData, Config]:
    """Build the backbone and load the adapter of a finished run. Return the model in evaluation mode, data and Config.

    Args:
        config: used instead of the run's configuration, for example for another task with the same number of labels.
        reader: the reader of the configuration's task, if its rows may have been read already.

    Raises:
        UserError: the run did not finish, its adapter is not in the folder, or the record or the adapter cannot be
            read or was changed after it was written.
    """
    _, recorded = records.read_finished(folder)
    config = config or recorded
    backbone, data = build(config, reader)
    return _adapted(backbone, folder), data, config


def load_model(folder: str | Path) -> tuple[PeftModel, Backbone, Config]:
    """Load the model of a finished run like load_run, without its data. Return the model, its Backbone and its Config.

    Raises:
        UserError: as load_run.
    """
    _, config = records.read_finished(folder)
    backbone = build_model(config)
    return _adapted(backbone, folder), backbone, config


def evaluate(model: torch.nn.Module, data: TaskData, config: Config, split: str = "reported") -> dict[str, float]:
    """Return the scores of a model on one split of its task.

    Raises:
        UserError: a logit is not finite.
    """
    accelerator = make_accelerator(config.trainer.precision)
    loader = evaluation_loader(data.splits[split], data.collate, config.trainer)
    logits, labels = predict(*accelerator.prepare(model, loader), accelerator)
    return objective_for(config.task).metrics(finite(logits), labels)


def finite(logits: np.ndarray) -> np.ndarray:
    """Return logits (N, num_labels); raise UserError if one is not finite, because no class is then the largest."""
    if not (good := np.isfinite(logits).all(-1)).all():
        raise UserError(
            f"the model's logits of {(~good).sum():,} of {len(logits):,} examples are not finite: score "
            "with trainer.precision=no, or train again with a smaller optimizer.lr"
        )
    return logits


def _adapted(backbone: Backbone, folder: str | Path) -> PeftModel:
    with without_known_warnings():
        return PeftModel.from_pretrained(backbone.module, Path(folder) / "adapter").eval()
