"""Compute the logits of a split with a model in evaluation mode."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from surm_bench.config import TrainerConfig
from surm_bench.system.environment import on_gpu


def evaluation_loader(data: Dataset, collate: Callable, trainer: TrainerConfig) -> DataLoader:
    """Return a loader of a split in its order. The loader draws nothing from the global random streams."""
    return DataLoader(
        data,
        trainer.eval_batch_size,
        collate_fn=collate,
        num_workers=trainer.workers,
        pin_memory=on_gpu(),
        generator=torch.Generator(),  # else each iteration would draw a seed from the global stream
    )


@torch.no_grad()  # inference_mode is not faster, and tensors that a method caches in it could not be trained
def predict(model: nn.Module, loader: DataLoader, accelerator: Accelerator) -> tuple[np.ndarray, np.ndarray]:
    """Return logits (N, num_labels) in fp32 and labels (N,) of a prepared loader. Sets the model to evaluation mode."""
    model.eval()
    logits, labels = [], []
    for batch in loader:
        wanted = batch.pop("labels")
        with accelerator.autocast():
            answer = forward(model, batch)
        answer, wanted = accelerator.gather_for_metrics((answer, wanted))
        logits.append(answer)
        labels.append(wanted)
    return torch.cat(logits).float().cpu().numpy(), torch.cat(labels).cpu().numpy()  # the only wait for the device


def forward(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return the logits, from models that return a tensor (timm) or an object with ``logits`` (transformers)."""
    output = model(**inputs)
    return output.logits if hasattr(output, "logits") else output
