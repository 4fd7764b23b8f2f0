"""Set up the device, the processes and the precision of a run in accelerate."""

import os

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DataLoaderConfiguration

from surm_bench.config import TrainerConfig
from surm_bench.errors import UserError, unknown
from surm_bench.system.environment import on_gpu

# Environment variables that reduce fp32 inside a library, where no program can undo it -> value that keeps full fp32:
# https://docs.nvidia.com/cuda/cublas (TF32), https://uxlfoundation.github.io/oneDNN (floating-point math mode)
FP32 = {"NVIDIA_TF32_OVERRIDE": "0", "ONEDNN_DEFAULT_FPMATH_MODE": "strict", "DNNL_DEFAULT_FPMATH_MODE": "strict"}


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


def check_device_name(name: str | None) -> None:
    """Refuse a device that this machine lacks, or a single GPU for several processes; raises UserError."""
    if name is not None and name not in devices():
        raise unknown("trainer.device", name, devices())
    if name is not None and ":" in name and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            f"trainer.device={name} is one GPU, but the run has several processes: give cuda, a GPU for each"
        )


def check_fp32() -> None:
    """Refuse environment variables that make NVIDIA's libraries or oneDNN reduce fp32; raises UserError."""
    for name, exact in FP32.items():
        if (value := os.environ.get(name, exact)).lower() not in ("", exact):
            raise UserError(f"{name}={value} makes fp32 less precise: unset it")


def devices() -> list[str]:
    """Return the valid values of trainer.device on this machine."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *(["cuda", *gpus] if gpus else []), *(["mps"] if torch.backends.mps.is_available() else [])]


def device_type(name: str | None) -> str:
    """Return cpu, cuda or mps. Without a name: cuda if there is a CUDA GPU, otherwise cpu."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu")).type


def use_device(name: str | None) -> None:
    """Use this device for all later accelerators of the process. Reset accelerate if it uses another device."""
    _exact_fp32()
    kind = device_type(name)
    if PartialState._shared_state and PartialState().device.type != kind:
        AcceleratorState._reset_state(reset_partial_state=True)
    state = PartialState(cpu=kind == "cpu")  # without cpu=True it ignores torchrun's processes on a CPU
    if name is not None and kind == "cuda" and state.num_processes == 1:
        torch.cuda.set_device(torch.device(name).index or 0)  # the meaning of "cuda" from here on


def make_accelerator(precision: str) -> Accelerator:
    """Return an accelerator with this precision. accelerate would keep the precision of the first one in the process.

    fp32 is full fp32 everywhere, without TF32.
    """
    _exact_fp32()
    AcceleratorState._reset_state()
    return Accelerator(mixed_precision=precision, dataloader_config=DataLoaderConfiguration(non_blocking=on_gpu()))


def _exact_fp32() -> None:
    """Turn off TF32. cuDNN uses it by default, matrix products by TORCH_ALLOW_TF32_CUBLAS_OVERRIDE or a caller."""
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")
