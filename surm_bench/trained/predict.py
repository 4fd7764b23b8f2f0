"""Predictions of a finished run's model for new inputs."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from surm_bench.config import Config
from surm_bench.models import Backbone
from surm_bench.run.build import prepared
from surm_bench.run.loading import finite, load_model
from surm_bench.tasks import RawTask, objective_for
from surm_bench.trained.inputs import Inputs, read_inputs
from surm_bench.training import evaluation_loader, make_accelerator, predict


def predictions(folder: Path, source: Path, config: Config) -> pd.DataFrame:
    """Predict in fp32 and return a table with one row for each input.

    Columns: ``row`` or ``file``; ``prediction``, a class number or the value of a regression; ``label`` if classes have
    names; and for classes ``probability_0``, ``probability_1``, …

    Args:
        folder: the folder of the run.
        source: a file of texts, or images (surm_bench.trained.inputs).
        config: the configuration of the run, to check the inputs before the model is loaded.

    Raises:
        UserError: the inputs are not readable or do not fit the task, weights or the adapter are missing, or a logit is
            not finite.
    """
    inputs = read_inputs(source, config.task)
    model, backbone, config = load_model(folder)
    logits = _logits(model, backbone, config, inputs)
    frame = pd.DataFrame({inputs.key: inputs.names, "prediction": objective_for(config.task).predictions(logits)})
    if config.task.label_names is not None:
        frame["label"] = [config.task.label_names[number] for number in frame["prediction"]]
    if config.task.num_labels > 1:
        for label, probabilities in enumerate(softmax(logits.astype(np.float64), axis=-1).T):
            frame[f"probability_{label}"] = probabilities
    return frame


def _logits(model, backbone: Backbone, config: Config, inputs: Inputs) -> np.ndarray:
    """Return logits (N, num_labels) in input order; the inputs become the only scored split of a task."""
    rows = inputs.rows
    task = RawTask(config.task, rows.select([0]), {"input": rows}, {"input": np.arange(len(rows))})
    data, accelerator = prepared(task, backbone, config), make_accelerator("no")
    loader = evaluation_loader(data.splits["input"], data.collate, config.trainer)
    scored, _ = predict(*accelerator.prepare(model, loader), accelerator)
    logits = np.empty_like(scored)
    logits[data.rows["input"]] = finite(scored)  # texts are scored in order of length
    return logits
