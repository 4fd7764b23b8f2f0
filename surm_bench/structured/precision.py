"""What products are computed in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Autocast off; the meta device, which computes shapes only, has none."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)


def under_autocast(device: torch.device) -> bool:
    """Whether autocast is on for a device; never on the meta device."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def product_dtype(x: Tensor) -> torch.dtype:
    """What a matrix product with x is computed in."""
    narrowed = under_autocast(x.device) and x.dtype == torch.float32
    return torch.get_autocast_dtype(x.device.type) if narrowed else x.dtype


def parameter_dtype(module: nn.Module) -> torch.dtype:
    """That of the module's first parameter, which is a plain tensor in a replica of torch's DataParallel."""
    held = (value for part in module.modules() for value in (*part._parameters.values(), *vars(part).values()))
    return next(value.dtype for value in held if isinstance(value, Tensor))
