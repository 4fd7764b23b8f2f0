"""Refuse a device, a precision or a compiler that this machine does not have."""

import torch

from surm_bench.config import TrainerConfig
from surm_bench.errors import UserError
from surm_bench.training.accelerator import check_device_name, check_fp32, device_type


def check_device(config: TrainerConfig) -> None:
    """Refuse settings that do not work on this machine, before anything is loaded; raises UserError."""
    check_fp32()
    check_device_name(config.device)
    if config.precision == "fp16" and device_type(config.device) != "cuda":
        raise UserError("trainer.precision=fp16 needs a CUDA GPU: choose bf16 or no")
    if config.compile:
        _check_compiler(device_type(config.device))


def _check_compiler(device: str) -> None:
    """Compile a small function. Only this shows whether the compiler and everything it needs are installed."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(1, device=device))
    except Exception as error:  # several packages raise many kinds of errors
        reason = str(error).partition("\n")[0]
        raise UserError(f"trainer.compile=true does not work on this machine: {reason}: leave it out") from error
