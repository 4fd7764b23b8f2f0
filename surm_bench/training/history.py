"""The measurements of a training run."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class History:
    """Scores, predictions and times of a run. Times are wall-clock seconds without evaluations and saving.

    Attributes:
        evaluations: {"epoch", "step", "train_loss", "scores": {split: {name: value}}} of each evaluation, in order.
        predictions: split -> logits (N, num_labels), fp32, of the last evaluation, or with trainer.keep_best of the
            best evaluation, in the order of the split's loader.
        labels: split -> labels (N,), in the order of the predictions.
        step_seconds: the time of each optimiser step.
        examples: the number of training examples processed, repetitions included.
        segments: {"from_step", "to_step", "train_seconds", and the keys of Checkpoint.about}, one for each process
            that worked on the run. Steps that a process lost because it ended before saving are in no segment.
    """

    evaluations: list[dict[str, Any]] = field(default_factory=list)
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
    labels: dict[str, np.ndarray] = field(default_factory=dict)
    step_seconds: list[float] = field(default_factory=list)
    examples: int = 0
    segments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def train_seconds(self) -> float:
        return sum(self.step_seconds)

    def begin_segment(self, about: dict[str, Any]) -> None:
        """Begin the segment of the process that now works on the run."""
        step = len(self.step_seconds)
        self.segments.append({"from_step": step, "to_step": step, "train_seconds": 0.0, **about})

    def update_segment(self) -> None:
        """Update the end and the training time of the last segment."""
        segment = self.segments[-1]
        segment["to_step"] = len(self.step_seconds)
        segment["train_seconds"] = sum(self.step_seconds[segment["from_step"] :])

    def state_dict(self) -> dict:
        self.update_segment()
        return {
            "evaluations": self.evaluations,
            "predictions": {split: torch.from_numpy(values) for split, values in self.predictions.items()},
            "labels": {split: torch.from_numpy(values) for split, values in self.labels.items()},
            "step_seconds": torch.tensor(self.step_seconds, dtype=torch.float64),
            "examples": self.examples,
            "segments": self.segments,
        }

    def load_state_dict(self, state: dict) -> None:
        self.evaluations, self.examples, self.segments = state["evaluations"], state["examples"], state["segments"]
        self.predictions = {split: values.numpy() for split, values in state["predictions"].items()}
        self.labels = {split: values.numpy() for split, values in state["labels"].items()}
        self.step_seconds = state["step_seconds"].tolist()
