"""Refuse settings that would fail later or have no effect."""

import os

import torch

from surm_bench.config import OptimizerConfig, TrainerConfig
from surm_bench.config.identity import canonical
from surm_bench.errors import UserError, unknown
from surm_bench.training.accelerator import check_device, check_fp32, device_type
from surm_bench.training.optimizers import OPTIMIZERS, SCHEDULES

PRECISIONS = ("no", "bf16", "fp16")
WORKERS = 8  # most data-loading processes for each processor: more would only wait for each other
READ_BY = {"betas": ("adamw", "adam"), "eps": ("adamw", "adam"), "momentum": ("sgd",)} | dict.fromkeys(
    ("weight_decay", "schedule", "warmup_ratio", "max_grad_norm"), ("adamw", "adam", "sgd")
)  # all optimisers read the other keys


def check_config(optimizer: OptimizerConfig, trainer: TrainerConfig, seed: int) -> None:
    """Refuse invalid settings before anything is loaded; raises UserError."""
    if not 0 <= seed < 2**32:
        raise UserError(f"seed={seed} is not possible: from 0 to 2**32 - 1")
    _check_optimizer(optimizer)
    _check_trainer(trainer)
    for name in ("compile", "gradient_checkpointing", "micro_batch_size") if optimizer.name == "loko" else ():
        if getattr(trainer, name):
            raise UserError(
                f"trainer.{name}={_shown(getattr(trainer, name))} is not possible with optimizer.name=loko, which "
                "looks into the model at a whole batch"
            )


def _check_optimizer(config: OptimizerConfig) -> None:
    if config.name not in OPTIMIZERS:
        raise unknown("optimizer.name", config.name, OPTIMIZERS)
    if config.schedule not in SCHEDULES:
        raise unknown("schedule", config.schedule, SCHEDULES)
    for name in ("lr", "head_lr"):
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise UserError(f"optimizer.{name}={value} is not possible: give a number above 0")
    if not config.eps > 0:
        raise UserError(f"optimizer.eps={config.eps} is not possible: give a number above 0")
    for name in ("weight_decay", "max_grad_norm"):
        if not getattr(config, name) >= 0:
            raise UserError(f"optimizer.{name}={getattr(config, name)} is not possible: give 0 or more")
    if not all(0 <= beta < 1 for beta in config.betas):
        raise UserError(f"optimizer.betas={list(config.betas)} is not possible: each from 0 to below 1")
    if not 0 <= config.momentum < 1:
        raise UserError(f"optimizer.momentum={config.momentum} is not possible: from 0 to below 1")
    if not 0 <= config.warmup_ratio <= 1:
        raise UserError(f"optimizer.warmup_ratio={config.warmup_ratio} is not possible: a part from 0 to 1")
    default = OptimizerConfig()
    for name, readers in READ_BY.items():
        value = getattr(config, name)
        if config.name not in readers and canonical(value) != canonical(getattr(default, name)):
            raise UserError(
                f"optimizer.{name}={value} has no effect with optimizer.name={config.name}: only "
                f"{' and '.join(readers)} read it"
            )


def _check_trainer(config: TrainerConfig) -> None:
    if config.precision not in PRECISIONS:
        raise unknown("precision", config.precision, PRECISIONS)
    check_fp32()
    check_device(config.device)
    if config.precision == "fp16" and device_type(config.device) != "cuda":
        raise UserError("trainer.precision='fp16' needs a GPU of CUDA: choose bf16 or no")
    for name in ("workers", "save_seconds"):
        if not getattr(config, name) >= 0:
            raise UserError(f"trainer.{name}={getattr(config, name)} is not possible: 0 or more")
    if config.workers > (most := WORKERS * (os.cpu_count() or 1)):
        raise UserError(
            f"trainer.workers={config.workers} is not possible: at most {most}, {WORKERS} for each processor"
        )
    for name in ("epochs", "batch_size", "eval_batch_size"):
        if getattr(config, name) < 1:
            raise UserError(f"trainer.{name}={getattr(config, name)} is not possible: at least 1")
    for name in ("max_steps", "eval_steps", "patience"):
        if getattr(config, name) is not None and getattr(config, name) < 1:
            raise UserError(f"trainer.{name}={getattr(config, name)} is not possible: at least 1, or null")
    if config.micro_batch_size is not None and not 1 <= config.micro_batch_size < config.batch_size:
        raise UserError(
            f"trainer.micro_batch_size={config.micro_batch_size} is not possible: at least 1 and below "
            f"trainer.batch_size={config.batch_size}, or null"
        )
    if config.compile:
        _check_compiler(device_type(config.device))


def _shown(value: object) -> str:
    """Return a value as in an override: ``true`` for True."""
    return str(value).lower()


def _check_compiler(device: str) -> None:
    """Compile a small function. Only this shows whether the compiler and everything it needs are installed."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except Exception as error:  # several packages raise many kinds of errors
        reason = str(error).partition("\n")[0]
        raise UserError(f"trainer.compile=true does not work here, torch.compile says: {reason}") from error
