"""The conditions of a benchmark: device, precision, compiled or not."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from surm_bench.structured.routes import multiplies_bf16


@dataclass(frozen=True)
class Setting:
    """The conditions under which all cases are run.

    Attributes:
        device: "cpu" or "cuda".
        precision: "fp32", or "bf16" for autocast.
        compiled: whether modules go through torch.compile.
    """

    device: str = "cpu"
    precision: str = "fp32"
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}{', compiled' if self.compiled else ''}"

    def place(self, module: nn.Module) -> nn.Module:
        """Return the module on the device, compiled if the setting asks for it."""
        module = module.to(self.device)
        return torch.compile(module) if self.compiled else module

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()


def settings() -> list[Setting]:
    """Return fp32, and bf16 if the device multiplies in bf16; on a GPU both plain and compiled."""
    if not torch.cuda.is_available():
        return [Setting("cpu", precision) for precision in ("fp32", *(["bf16"] if multiplies_bf16() else []))]
    return [Setting("cuda", precision, compiled) for precision in ("fp32", "bf16") for compiled in (False, True)]
