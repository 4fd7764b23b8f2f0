"""Functions for methods whose ranks shrink during training.

ΔW is a sum of rank-one terms, and the least important terms of the whole model are zeroed.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from surm_bench.adapters.delta import Delta
from surm_bench.adapters.tuner import Tuner
from surm_bench.adapters.tuner_layer import tuner_layers


def deltas(tuner: Tuner) -> dict[str, Delta]:
    """Return the active adapter's delta in every layer, by the layer's name."""
    adapter = tuner.active_adapters[0]
    layers = tuner_layers(tuner.model).items()
    return {name: layer.adapters[adapter] for name, layer in layers if adapter in layer.adapters}


@torch.no_grad()
def zero_lowest(factors: Iterable[Tensor], scores: Iterable[Tensor], count: int) -> None:
    """Zero in place the factors of the ``count`` terms with the lowest scores in the whole model.

    Args:
        factors, scores: for each layer a tensor (r,), with one factor and one score per term.
        count: at least 1. All terms with the same score as the last zeroed term are zeroed too.
    """
    scores = list(scores)
    threshold = torch.cat(scores).kthvalue(count).values
    for factor, score in zip(factors, scores, strict=True):
        factor.masked_fill_(score <= threshold, 0.0)
