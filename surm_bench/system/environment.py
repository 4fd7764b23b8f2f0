"""Describe where a run happened: versions, commit, device and memory. Only the functions import torch."""

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import surm_bench
from surm_bench.system.installation import PACKAGE, config_dir

PROCESS = Path("/proc/self")  # Linux: information about this process
CONTROL_GROUP = Path("/sys/fs/cgroup")  # Linux, cgroup version 2: a container sees its own control group here
UNKNOWN = "unknown"  # the commit of a checkout, where git cannot tell it


def describe() -> dict:
    """Return the ``environment`` part of a record. The version of a package that is not installed is None."""
    import torch
    from accelerate import PartialState

    commit, dirty = _git_state()
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in ("torch", "transformers", "peft", "timm")},
        "surm_bench": surm_bench.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "device": _device(),
        "device_kind": device_kind(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
        "processes": PartialState().num_processes,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "matmul_precision": torch.get_float32_matmul_precision(),
    }


def device_kind() -> str:
    """Return the hardware that decides rounding and speed: the GPU, or the CPU with its widest vector instructions."""
    import torch
    from accelerate import PartialState

    if on_gpu():
        return torch.cuda.get_device_name()
    mps = PartialState().device.type == "mps"
    return f"{_cpu_name()}, {'mps' if mps else torch.backends.cpu.get_cpu_capability()}"


def on_gpu() -> bool:
    """Whether this process uses a CUDA GPU. trainer.device may choose another device although a GPU exists."""
    from accelerate import PartialState

    return PartialState().device.type == "cuda"


def reset_peak_memory() -> None:
    """Reset peak_memory_bytes, so that a run does not report the peak of an earlier run in the same process."""
    import torch

    if on_gpu():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):  # not on Linux, or not allowed
        (PROCESS / "clear_refs").write_text("5")


def peak_memory_bytes() -> int:
    """Return the peak memory in bytes since reset_peak_memory().

    On a CUDA GPU this is the memory held by torch's allocator, otherwise the resident set of this process. Systems
    other than Linux (proc(5)) cannot reset the peak: there it is the peak since the process began (``ru_maxrss``).
    """
    import torch

    if on_gpu():
        return torch.cuda.max_memory_allocated()
    with suppress(OSError):
        if match := re.search(r"^VmHWM:\s+(\d+) kB$", (PROCESS / "status").read_text(), re.MULTILINE):
            return int(match[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, Linux KiB


def available_memory_bytes() -> int:
    """Return the memory in bytes that this process can still use, within the machine and the limit of its container."""
    import psutil

    left = psutil.virtual_memory().available
    try:
        limit = int((CONTROL_GROUP / "memory.max").read_text())  # "max" if there is no limit
        used = dict(line.split() for line in (CONTROL_GROUP / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        return left
    return max(0, min(left, limit - int(used["anon"]) - int(used["shmem"])))  # other used memory can be freed


def _device() -> str:
    """Return the GPU's name, or the processor's name and its number of cores: ``cpu (AMD EPYC, 2 cores)``."""
    import torch
    from accelerate import PartialState

    if on_gpu():
        return torch.cuda.get_device_name()
    return f"{PartialState().device.type} ({_cpu_name()}, {os.cpu_count()} cores)"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (names or [platform.machine()])[0]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_state() -> tuple[str | None, bool | None]:
    """Return the commit of this package's checkout, and whether code or configs differ from this commit.

    Returns None, None if no repository tracks this package. What git cannot tell of a checkout, for example because git
    is not installed or the checkout belongs to another user, is UNKNOWN, and None.
    """
    # An installed copy may lie in the checkout of another project (.venv): the repository must track this package.
    tracked = _git(PACKAGE, "ls-files", "__init__.py")
    if not tracked:
        failed = tracked is None and (PACKAGE.parent / ".git").exists()
        return UNKNOWN if failed else None, None
    changes = _git(PACKAGE, "status", "--porcelain", "--", ".", str(config_dir()))
    return _git(PACKAGE, "rev-parse", "HEAD") or UNKNOWN, None if changes is None else bool(changes)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command; None if it fails or git is not installed."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
