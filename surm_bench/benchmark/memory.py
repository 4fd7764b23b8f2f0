"""The peak memory of a step: on a GPU from the allocator, on a CPU from PyTorch's record of every allocation.

The resident set of the process is unsuitable: it depends on the allocator's habits, and it never falls.
"""

import json
import tempfile
from collections.abc import Callable, Iterable
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile


def step_peak(step: Callable[[], object], device: str) -> int:
    """Return the bytes that the step holds at its peak, beyond those held before the step."""
    step()  # makes the allocations that happen only once
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recording:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        recording.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]"]
    return max(accumulate(size for _, size in sorted(changes, key=lambda change: change[0])), default=0)


def size_of(tensors: Iterable[Tensor]) -> int:
    """Return the bytes of these tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
