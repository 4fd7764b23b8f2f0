"""The loop: accelerate, AdamW, a schedule, evaluation after each epoch. It knows modules and loaders only."""

import surm_bench.torchvision_stub  # noqa: F401

# isort: split
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import get_scheduler
from transformers.trainer_pt_utils import LengthGroupedSampler

from surm_bench.config import OptimizerConfig, TrainerConfig
from surm_bench.errors import UserError, unknown

SCHEDULES = {"linear": "linear", "cosine": "cosine", "constant": "constant_with_warmup"}
PRECISIONS = ("no", "bf16", "fp16")
CHECK_EVERY = 10  # steps between two looks at the loss: each look waits for the device
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)

Loss = Callable[[Tensor, Tensor], Tensor]  # logits, labels -> scalar
Metrics = Callable[[np.ndarray, np.ndarray], dict[str, float]]  # logits, labels -> named scores
Log = Callable[[dict[str, float], int], None]  # values, optimiser step


class Hooks:
    """What a method may add to the loop; this one adds nothing."""

    def begin(self, steps: int) -> None:
        """Called once before the first step, with the number of optimiser steps of the run."""

    def penalty(self) -> Tensor | float:
        """A term added to each batch's loss before its gradients are taken; reported losses are without it."""
        return 0.0

    def after_step(self, step: int) -> None:
        """Called after each optimiser step, counted from 1, with its gradients still in place."""


class TrainingFailed(RuntimeError):
    """Training cannot go on; one line says at which step and why."""


@dataclass
class History:
    """What a training run measured. Times are seconds of the wall clock, evaluation apart."""

    epochs: list[dict[str, float]] = field(default_factory=list)  # epoch, step, train_loss and the scores of each split
    step_seconds: list[float] = field(default_factory=list)
    examples: int = 0

    @property
    def train_seconds(self) -> float:
        return sum(self.step_seconds)


def check_config(optimizer: OptimizerConfig, trainer: TrainerConfig, seed: int) -> None:
    """Refuse what could only fail later; raises UserError."""
    if optimizer.schedule not in SCHEDULES:
        raise unknown("schedule", optimizer.schedule, SCHEDULES)
    if trainer.precision not in PRECISIONS:
        raise unknown("precision", trainer.precision, PRECISIONS)
    if trainer.precision == "fp16" and not torch.cuda.is_available():
        raise UserError("trainer.precision='fp16' needs a GPU: choose bf16 or no")
    if not optimizer.lr > 0:
        raise UserError(f"optimizer.lr={optimizer.lr} is not possible: give a number above 0")
    for name in ("weight_decay", "eps", "max_grad_norm"):
        if not getattr(optimizer, name) >= 0:
            raise UserError(f"optimizer.{name}={getattr(optimizer, name)} is not possible: give 0 or more")
    if not all(0 <= beta < 1 for beta in optimizer.betas):
        raise UserError(f"optimizer.betas={list(optimizer.betas)} is not possible: each from 0 to below 1")
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed} is not possible: from 0 to 2**32 - 1")
    if trainer.workers < 0:
        raise UserError(f"trainer.workers={trainer.workers} is not possible: 0 or more")
    if not 0 <= optimizer.warmup_ratio <= 1:
        raise UserError(f"optimizer.warmup_ratio={optimizer.warmup_ratio} is not possible: a part from 0 to 1")
    for name in ("epochs", "batch_size", "eval_batch_size"):
        if getattr(trainer, name) < 1:
            raise UserError(f"trainer.{name}={getattr(trainer, name)} is not possible: at least 1")
    for name in ("max_steps", "eval_steps"):
        if getattr(trainer, name) is not None and getattr(trainer, name) < 1:
            raise UserError(f"trainer.{name}={getattr(trainer, name)} is not possible: at least 1, or null")
    if trainer.compile:
        _check_compiler()


def fit(
    model: nn.Module,
    train: Dataset,
    evaluations: Mapping[str, Dataset],
    collate: Callable,
    lengths: Sequence[int] | None,
    loss: Loss,
    metrics: Metrics,
    optimizer: OptimizerConfig,
    trainer: TrainerConfig,
    seed: int,
    log: Log,
    title: str,
    hooks: Hooks | None = None,
) -> History:
    """Train the parameters that require gradients, in place; evaluate every named split after each epoch, or after
    those that end trainer.eval_steps or more after the last evaluation.

    Args:
        model: ``model(**inputs)`` gives logits, or an object that has them.
        evaluations: data sets by the prefix of their scores in the history; "" for the reported split.
        lengths: token counts of the training examples: batches are then grouped by length.
        log: is told the losses and scores.
        title: what the progress bar calls the run.
        hooks: what the method adds to the loop, if anything.

    Raises:
        TrainingFailed: the loss is not finite.
    """
    accelerator = make_accelerator(trainer.precision)
    generator = torch.Generator().manual_seed(seed)
    sampler = LengthGroupedSampler(trainer.batch_size, lengths=lengths, generator=generator) if lengths else None
    loader = DataLoader(
        train,
        trainer.batch_size,
        shuffle=sampler is None,
        sampler=sampler,
        generator=generator,
        collate_fn=collate,
        num_workers=trainer.workers,
        pin_memory=torch.cuda.is_available(),
    )
    loaders = {name: evaluation_loader(data, collate, trainer) for name, data in evaluations.items()}
    parameters = trainable(model)
    adamw = torch.optim.AdamW(
        parameter_groups(model, optimizer.weight_decay),
        optimizer.lr,
        tuple(optimizer.betas),
        optimizer.eps,
        fused=True,  # one kernel for all parameters: on a CPU too a third of the time of the plain one
    )
    model, loader, *prepared = accelerator.prepare(model, loader, *loaders.values())
    if trainer.precision == "fp16":  # to scale gradients; otherwise it would cost a small network 3 % of its time
        adamw = accelerator.prepare_optimizer(adamw)
    loaders = dict(zip(loaders, prepared, strict=True))
    trained = torch.compile(model) if trainer.compile else model  # the same parameters
    steps = min(trainer.epochs * len(loader), trainer.max_steps or trainer.epochs * len(loader))
    schedule = get_scheduler(
        SCHEDULES[optimizer.schedule], adamw, round(optimizer.warmup_ratio * steps), steps
    )  # not prepared: it counts optimiser steps, on every process alike
    hooks = hooks or Hooks()
    hooks.begin(steps)

    history = History()
    step = epoch = evaluated = 0
    with _progress(trainer.progress and accelerator.is_main_process) as progress:
        bar = progress.add_task(title, total=steps)
        while step < steps:
            model.train()
            total, in_epoch, clock = torch.zeros((), device=accelerator.device), 0, time.perf_counter()
            for batch in loader:
                labels = batch.pop("labels")
                with accelerator.autocast():
                    value = loss(forward(trained, batch), labels)
                accelerator.backward(value + hooks.penalty())
                if optimizer.max_grad_norm:
                    accelerator.clip_grad_norm_(parameters, optimizer.max_grad_norm)
                adamw.step()
                schedule.step()
                hooks.after_step(step + 1)
                adamw.zero_grad()
                total, in_epoch, step = total + value.detach(), in_epoch + 1, step + 1
                history.examples += len(labels) * accelerator.num_processes
                if step % CHECK_EVERY == 0 or step == steps:
                    log(
                        {
                            "train/loss": _finite(accelerator.reduce(value.detach(), "mean"), step),
                            "train/lr": schedule.get_last_lr()[0],
                        },
                        step,
                    )
                now = time.perf_counter()
                history.step_seconds.append(now - clock)
                clock = now
                progress.advance(bar)
                if step == steps:
                    break
            mean_loss = _finite(accelerator.reduce(total, "mean"), step) / in_epoch
            history.step_seconds[-1] += time.perf_counter() - clock  # a GPU may only now be done with the last steps
            epoch += 1
            if step < steps and step - evaluated < (trainer.eval_steps or 1):
                continue
            evaluated, scores = step, {"epoch": epoch - 1, "step": step, "train_loss": mean_loss}
            for prefix, evaluation in loaders.items():
                values = metrics(*predict(model, evaluation, accelerator))
                scores |= {f"{prefix}{name}": score for name, score in values.items()}
            history.epochs.append(scores)
            log({f"eval/{name}": scores[name] for name in scores.keys() - {"epoch", "step", "train_loss"}}, step)
    if accelerator.device.type == "cuda":  # elsewhere it only costs a third of a second of garbage collection
        accelerator.free_memory()
    return history


def make_accelerator(precision: str) -> Accelerator:
    """An accelerator of its own precision; accelerate otherwise keeps that of the process's first one."""
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision, dataloader_config=DataLoaderConfiguration(non_blocking=torch.cuda.is_available())
    )


def evaluation_loader(data: Dataset, collate: Callable, trainer: TrainerConfig) -> DataLoader:
    """Batches of a split in its own order."""
    return DataLoader(
        data,
        trainer.eval_batch_size,
        collate_fn=collate,
        num_workers=trainer.workers,
        pin_memory=torch.cuda.is_available(),
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


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that require gradients."""
    return [p for p in model.parameters() if p.requires_grad]


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Trainable parameters in two groups: decayed, and not (biases and whatever belongs to a norm).

    A vector that defines a structured matrix is a weight: it decays, unlike by the usual rule "fewer than two axes".
    """
    spared = {
        id(parameter)
        for module in model.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if name == "bias" or isinstance(module, NORMS)
    }
    parameters = trainable(model)
    groups = [
        {"params": [p for p in parameters if id(p) not in spared], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) in spared], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def _check_compiler() -> None:
    """Compile something small: whether there is a compiler, and all that it needs, only a trial tells."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except Exception as error:  # of many kinds, from several packages
        told = str(error).partition("\n")[0]
        raise UserError(f"trainer.compile=true does not work here, torch.compile says: {told}") from error


def _finite(value: Tensor, step: int) -> float:
    number = value.item()
    if not np.isfinite(number):
        raise TrainingFailed(f"the loss is {number} at step {step}: lower optimizer.lr or raise optimizer.warmup_ratio")
    return number


def _progress(shown: bool) -> Progress:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeRemainingColumn(),
    )  # fmt: skip
    return Progress(*columns, disable=not shown, transient=True)
