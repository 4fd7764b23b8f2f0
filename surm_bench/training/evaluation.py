"""Logits of a split, from a model in evaluation mode."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from surm_bench.config import TrainerConfig
from surm_bench.environment import on_gpu


def evaluation_loader(data: Dataset, collate: Callable, trainer: TrainerConfig) -> DataLoader:
    """Batches of a split in its own order; draws nothing from the global random streams."""
    return DataLoader(
        data,
        trainer.eval_batch_size,
        collate_fn=collate,
        num_workers=trainer.workers,
        pin_memory=on_gpu(),
        generator=torch.Generator(),  # of its own: a loader draws a number each time, though it uses none
    )


@torch.no_grad()  # not inference_mode: no faster here, and what a method keeps of it could not be trained with
def predict(model: nn.Module, loader: DataLoader, accelerator: Accelerator) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N, num_labels) in fp32 and labels (N,) of a prepared loader, in evaluation mode."""
    model.eval()
    logits, labels = [], []
    for batch in loader:
        wanted = batch.pop("labels")
        with accelerator.autocast():
            answer = forward(model, batch)
        answer, wanted = accelerator.gather_for_metrics((answer, wanted))
        logits.append(answer)
        labels.append(wanted)
    return torch.cat(logits).float().cpu().numpy(), torch.cat(labels).cpu().numpy()  # the one wait for the device


def forward(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """The logits, of models that return them bare (timm) and of models that wrap them (transformers)."""
    output = model(**inputs)
    return output.logits if hasattr(output, "logits") else output
