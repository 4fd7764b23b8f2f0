"""The precision of matrix products."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Turn autocast off; do nothing on the meta device, which computes only shapes and has no autocast."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def under_autocast(device: torch.device) -> bool:
    """Return whether autocast is on for a device; always false for the meta device."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def product_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which a matrix product with x is computed."""
    narrowed = under_autocast(x.device) and x.dtype == torch.float32
    return torch.get_autocast_dtype(x.device.type) if narrowed else x.dtype


def parameter_dtype(module: nn.Module) -> torch.dtype:
    """Return the dtype of the first parameter; a replica of torch's DataParallel holds a plain tensor in its place."""
    held = (value for part in module.modules() for value in (*part._parameters.values(), *vars(part).values()))
    return next(value.dtype for value in held if isinstance(value, Tensor))
