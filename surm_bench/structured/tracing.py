"""Whether operations run now or are traced into a graph that runs later."""

import torch


def is_traced() -> bool:
    """Return whether torch.compile, torch.export or torch.jit.trace traces the operations into a graph.

    A graph holds plain operations alone, whose gradients are automatic; the compiler decides what is saved for them.
    """
    return torch.compiler.is_compiling() or torch.jit.is_tracing()


def prefers_few_operations(device: torch.device) -> bool:
    """Return whether one large product is better than many small operations: on a GPU, which waits for each launch, and
    in a traced graph."""
    return device.type != "cpu" or is_traced()
