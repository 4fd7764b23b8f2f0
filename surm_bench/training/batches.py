"""Choose the examples of each step from the seed and the epoch alone, so that training can continue inside an epoch."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from surm_bench.config import TrainerConfig
from surm_bench.system.environment import on_gpu


class Batches(Sampler[list[int]]):
    """Batches of example numbers, shuffled again in each epoch. Set ``epoch`` before iterating.

    Args:
        examples: the number of examples. The last batch of an epoch may be smaller.
        lengths: the token count of each example, to group examples of similar lengths (transformers' grouping).
    """

    drop_last = False  # accelerate reads drop_last and batch_size to distribute batches over processes

    def __init__(self, examples: int, batch_size: int, seed: int, lengths: Sequence[int] | None = None) -> None:
        self.examples, self.batch_size, self.seed, self.lengths = examples, batch_size, seed, lengths
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.examples // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        order = self._order()
        for first in range(0, self.examples, self.batch_size):
            yield order[first : first + self.batch_size]

    def _order(self) -> list[int]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        if self.lengths is None:
            return torch.randperm(self.examples, generator=generator).tolist()
        return get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)


def micro_batches(batch: dict[str, Tensor], size: int | None) -> list[dict[str, Tensor]]:
    """Split the batch into parts of ``size`` rows; the last part may be smaller. None: one part."""
    if size is None:
        return [batch]
    parts = {name: tensor.split(size) for name, tensor in batch.items()}
    return [dict(zip(parts, tensors, strict=True)) for tensors in zip(*parts.values(), strict=True)]


def seed_of(*place: int) -> int:
    """Return a seed for a place (seed, epoch, …). With seed + epoch, epoch 0 of seed 1 would be epoch 1 of seed 0."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])


def training_loader(data: Dataset, batches: Batches, collate: Callable, trainer: TrainerConfig) -> DataLoader:
    """Return a loader of these batches that draws nothing from the global random streams."""
    return DataLoader(
        data,
        batch_sampler=batches,
        collate_fn=collate,
        num_workers=trainer.workers,
        pin_memory=on_gpu(),
        generator=torch.Generator(),
    )
