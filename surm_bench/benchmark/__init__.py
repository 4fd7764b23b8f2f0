"""The speed of the adapters, side by side in one run on one machine, and the memory that a step takes."""

import os

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler that counts allocations writes to the terminal

import surm_bench.system.torchvision_stub  # noqa: E402, F401
