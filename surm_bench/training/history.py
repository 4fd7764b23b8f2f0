"""What a training run measured."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class History:
    """Scores, predictions and times. Times are seconds of the wall clock, without evaluations and saving.

    Attributes:
        evaluations: {"epoch", "step", "train_loss", "scores": {split: {name: value}}}, in order.
        predictions: split -> logits (N, num_labels), fp32, of the last evaluation, or of the best one with
            trainer.keep_best, in the order of its loader.
        labels: split -> (N,), in the same order.
        step_seconds: of each optimiser step.
        examples: how many were trained on, repetitions counted.
        segments: {"from_step", "to_step", "train_seconds", and what Checkpoint.about says}, one for each process that
            worked on the run. Steps that a process did and lost, because it ended before saving them, are in none.
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
        """From here on another process works on the run."""
        step = len(self.step_seconds)
        self.segments.append({"from_step": step, "to_step": step, "train_seconds": 0.0, **about})

    def update_segment(self) -> None:
        """Bring the last segment up to date."""
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
