"""The keys of training: its length and the way it is executed."""

import os
from dataclasses import dataclass

from surm_bench.config.keys import Group, InId, key
from surm_bench.errors import UserError

WORKERS = 8  # most data-loading processes per processor: more processes would only wait for each other


@dataclass
class TrainerConfig(Group):
    """The length of a run and the way it is executed."""

    group = "trainer"

    epochs: int = key("passes over the training rows", 10, InId.ALWAYS, least=1)
    max_steps: int | None = key(
        "most optimiser steps; may end training before the last epoch", None, InId.UNLESS_DEFAULT, least=1
    )
    eval_steps: int | None = key(
        "fewest optimiser steps between two evaluations; null: one after every epoch",
        None,
        InId.UNLESS_DEFAULT,
        least=1,
    )
    patience: int | None = key(
        "early stopping: training ends when this many evaluations in a row do not improve the primary metric on the "
        "held-out rows (task.validation=holdout or tuning); null: never. The schedule still spans all epochs",
        None,
        InId.UNLESS_DEFAULT,
        least=1,
    )
    keep_best: bool = key(
        "keep the adapter, the predictions and the reported score of the best epoch, chosen on the held-out rows",
        False,
        InId.UNLESS_DEFAULT,
    )
    batch_size: int = key("training examples of a step, on each device", 32, InId.ALWAYS, least=1)
    micro_batch_size: int | None = key(
        "gradient accumulation: rows of each part of a batch; gradients are summed", None, InId.UNLESS_DEFAULT, least=1
    )
    eval_batch_size: int = key(
        "examples at once in evaluation; if scores depend on this size beyond rounding, other sizes are refused",
        128,
        least=1,
    )
    precision: str = key(
        "no: fp32 everywhere | bf16, fp16: mixed precision, which computes products in half precision and keeps "
        "trained parameters in fp32; fp16 needs a CUDA GPU",
        "no",
        InId.UNLESS_DEFAULT,
        choices=("no", "bf16", "fp16"),
    )
    device: str | None = key("cpu | cuda | cuda:1 | mps; null: a CUDA GPU if there is one, otherwise the CPU", None)
    gradient_checkpointing: bool = key(
        "keep only each layer's input and recompute the rest: less memory, slower", False
    )
    compile: bool = key("use torch.compile in training; evaluation uses the plain model", False)
    cache_prefix: bool = key("compute the layers before the first trained one once per example", False)
    workers: int = key("processes that load data", 0, least=0)
    save_seconds: float = key(
        "seconds between two saves of the training state, from which a stopped run continues", 60.0, least=0
    )
    progress: bool = key("show a progress bar", True)
    save_adapter: bool = key("keep the trained adapter and head beside the record", True)

    def steps(self, per_epoch: int) -> int:
        """Return the optimiser steps of a run whose epochs have ``per_epoch`` steps, without early stopping."""
        whole = self.epochs * per_epoch
        return min(whole, self.max_steps or whole)

    def check(self) -> None:
        super().check()
        if self.workers > (most := WORKERS * (os.cpu_count() or 1)):
            raise UserError(f"{self._shown('workers')} is not possible: at most {most}, {WORKERS} for each processor")
        if self.micro_batch_size is not None and self.micro_batch_size >= self.batch_size:
            raise UserError(
                f"{self._shown('micro_batch_size')} is not possible: at least 1 and below "
                f"{self._shown('batch_size')}, or null"
            )
