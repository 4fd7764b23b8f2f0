"""What methods share whose ranks shrink while they train: a ΔW that is a sum of rank-one terms, of which the least
important in the whole model are zeroed."""

from collections.abc import Iterable

import torch
from torch import Tensor

from surm_bench.adapters.delta import Delta
from surm_bench.adapters.tuner import Tuner, tuner_layers


def deltas(tuner: Tuner) -> dict[str, Delta]:
    """The active adapter's delta in every layer, by the layer's name."""
    adapter = tuner.active_adapters[0]
    layers = tuner_layers(tuner.model).items()
    return {name: layer.adapters[adapter] for name, layer in layers if adapter in layer.adapters}


@torch.no_grad()
def zero_lowest(factors: Iterable[Tensor], scores: Iterable[Tensor], count: int) -> None:
    """Zero the factors, one a term, of the ``count`` terms of the whole model that score lowest, in place.

    Args:
        factors, scores: (r,) of each layer.
        count: at least 1; terms that score as the last of them are zeroed, too.
    """
    scores = list(scores)
    threshold = torch.cat(scores).kthvalue(count).values
    for factor, score in zip(factors, scores, strict=True):
        factor.masked_fill_(score <= threshold, 0.0)
