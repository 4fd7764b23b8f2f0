"""A tiny classifier with a structured matrix, and examples that it can learn."""

import torch
from sklearn.metrics import accuracy_score
from torch import nn
from torch.utils.data import default_collate

from surm_bench.config import AdapterConfig, Config, OptimizerConfig, TaskConfig, TrainerConfig
from surm_bench.structured import Circulant, StructuredMatrix
from surm_bench.tasks import Classification, TaskData
from surm_bench.training import Checkpoint, Hooks, fit


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden, self.norm, self.matrix, self.head = (
            nn.Linear(6, 8),
            nn.LayerNorm(8),
            StructuredMatrix(Circulant(8, 8)),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        h = self.norm(torch.tanh(self.hidden(x)))
        return self.head(h + self.matrix(h))


def examples(n: int = 50) -> list[dict]:
    torch.manual_seed(0)
    x = torch.randn(n, 6)
    return [{"x": row, "labels": row[:3].argmax()} for row in x]


class Decay(Hooks):
    """A term of the loss that must count once a step."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def penalty(self) -> torch.Tensor:
        return sum(p.square().sum() for p in self.model.parameters())


def trained_in_parts(micro_batch_size: int | None, batch_size: int = 16) -> tuple[list[float], list[torch.Tensor]]:
    """Three epochs of 50 examples: the last batch of an epoch has fewer rows, as has the last part of a batch."""
    torch.manual_seed(1)
    model, data = Classifier(), examples()
    trainer = TrainerConfig(epochs=3, batch_size=batch_size, micro_batch_size=micro_batch_size, progress=False)
    settings = Config(
        task=TaskConfig(name="t"), adapter=AdapterConfig(label="a"), optimizer=OptimizerConfig(lr=0.01),
        trainer=trainer, seed=3,
    )  # fmt: skip
    task = TaskData(data, {"reported": data[:20]}, default_collate, None, {})
    history = fit(model, task, Classification("accuracy", "accuracy"), settings, hooks=Decay(model))
    assert history.examples == 150
    return [one["train_loss"] for one in history.evaluations], list(model.parameters())


def fitted(trainer: dict, checkpoint: Checkpoint | None = None, hooks: Hooks | None = None):
    """Twelve epochs of a rate that learns and forgets; the splits are halves of what is trained on."""
    torch.manual_seed(1)
    model, data = Classifier(), examples()
    if checkpoint is not None and checkpoint.file.exists():  # all that is trained is in the state
        torch.nn.init.zeros_(model.head.weight)
    settings = Config(
        task=TaskConfig(name="t", validation="holdout"), adapter=AdapterConfig(label="a"),
        optimizer=OptimizerConfig(lr=0.2, schedule="constant", warmup_ratio=0),
        trainer=TrainerConfig(epochs=12, batch_size=8, progress=False, **trainer), seed=3,
    )  # fmt: skip
    task = TaskData(data, {"reported": data[:20], "validation": data[20:]}, default_collate, None, {})
    history = fit(model, task, Classification("accuracy", "accuracy"), settings, hooks=hooks, checkpoint=checkpoint)
    return model, history


def held_out_score(model: torch.nn.Module) -> float:
    rows = examples()[20:]
    with torch.no_grad():
        chosen = model.eval()(torch.stack([row["x"] for row in rows])).argmax(-1)
    return accuracy_score([int(row["labels"]) for row in rows], chosen)
