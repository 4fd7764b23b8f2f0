"""The device, the processes and the precision of a run, as accelerate sees them."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration


def make_accelerator(precision: str) -> Accelerator:
    """An accelerator of its own precision; accelerate otherwise keeps that of the process's first one."""
    AcceleratorState._reset_state()
    return Accelerator(
        mixed_precision=precision, dataloader_config=DataLoaderConfiguration(non_blocking=torch.cuda.is_available())
    )
