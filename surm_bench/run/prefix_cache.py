"""Compute the hidden states of a frozen prefix once per example. Training then runs only the rest of the model.

Scores and adapters equal those of a run without the cache up to rounding: a matrix product may sum in another order if
the batch of an example has another size or, for text, other padding.
"""

from dataclasses import replace

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from peft import PeftModel
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from surm_bench.config import TrainerConfig
from surm_bench.errors import UserError
from surm_bench.models.prefix import Suffix, cut
from surm_bench.system.environment import available_memory_bytes
from surm_bench.tasks.batches import mask, pad
from surm_bench.tasks.prepare import TaskData
from surm_bench.training import make_accelerator


def cache_prefix(model: PeftModel, data: TaskData, trainer: TrainerConfig) -> tuple[Suffix, TaskData]:
    """Return the trained part of the model, and the data with every split as inputs of this part.

    An example is then {"hidden": (T, d), "labels": ()}. Text has no padding, and T = 1 if only the head is trained.
    The part shares its parameters with the model: training the part trains the model.

    Raises:
        UserError: the model has no constant prefix (surm_bench.models.prefix.cut), its images are changed at random,
            or the hidden states need more than half of the available memory.
    """
    if data.augment is not None:
        raise UserError(
            "trainer.cache_prefix computes each image once, but task.augment changes images: leave out one of the two"
        )
    suffix = cut(model).eval()
    accelerator = make_accelerator(trainer.precision)
    suffix.to(accelerator.device)
    ragged = data.lengths is not None and suffix.first is not None
    _check_room(_hidden(suffix, data.collate([data.train[0]]), accelerator), data, ragged, accelerator.num_processes)

    def states(split: Dataset | list[dict]) -> list[dict]:
        training = split is data.train
        order = range(len(split))
        if training and data.lengths is not None:  # sorted like the other splits
            order = sorted(order, key=data.lengths.__getitem__, reverse=True)
        loader = DataLoader(
            Subset(split, order),
            trainer.batch_size if training else trainer.eval_batch_size,  # as without the cache: equal rounding
            collate_fn=data.collate,
            num_workers=trainer.workers,
            generator=torch.Generator(),  # a loader draws from it, not from the stream of dropout
        )
        batches = track(loader, "hidden states", transient=True, disable=not trainer.progress)
        computed = (example for batch in batches for example in _examples(suffix, batch, accelerator, ragged))
        examples = dict(zip(order, computed, strict=True))
        return [examples[index] for index in range(len(split))]

    train, splits = states(data.train), {name: states(split) for name, split in data.splits.items()}
    collate = collate_ragged if ragged else default_collate
    return suffix, replace(data, train=train, splits=splits, collate=collate)


def collate_ragged(examples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Collate examples of several lengths: hidden (B, longest, d), attention_mask (B, longest), labels (B,)."""
    hidden = [example["hidden"] for example in examples]
    labels = torch.stack([example["labels"] for example in examples])
    return {"hidden": pad(hidden), "attention_mask": mask([len(states) for states in hidden]), "labels": labels}


def _examples(suffix: Suffix, batch: dict, accelerator: Accelerator, ragged: bool) -> list[dict[str, Tensor]]:
    labels = batch.pop("labels")
    hidden = _hidden(suffix, batch, accelerator).cpu()
    counts = batch["attention_mask"].sum(1).tolist() if ragged else [hidden.shape[1]] * len(hidden)
    # Clone the states: a view would keep the whole batch in memory.
    return [
        {"hidden": states[:count].clone(), "labels": label}
        for states, count, label in zip(hidden, counts, labels, strict=True)
    ]


def _hidden(suffix: Suffix, batch: dict, accelerator: Accelerator) -> Tensor:
    inputs = {name: value for name, value in batch.items() if name != "labels"}
    with accelerator.autocast():
        return suffix.prefix(send_to_device(inputs, accelerator.device))


def _check_room(probe: Tensor, data: TaskData, ragged: bool, processes: int) -> None:
    """Refuse a cache larger than half of the available memory; ``probe`` is the hidden state (1, T, d) of an example.

    Each process takes an equal share of this half.
    """
    splits = [data.train, *data.splits.values()]
    examples = sum(len(split) for split in splits)
    rows = sum(len(e["input_ids"]) for split in splits for e in split) if ragged else examples * probe.shape[1]
    needed, limit = rows * probe[0, 0].nbytes, available_memory_bytes() // 2 // processes
    if needed > limit:
        raise UserError(
            f"trainer.cache_prefix needs {needed / 2**30:,.3f} GiB for the hidden states of {examples:,} examples, but "
            f"half of the available memory is {limit / 2**30:,.3f} GiB: leave it out, or use fewer examples"
        )
