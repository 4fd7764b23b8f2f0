"""Layers whose adapters amount to other parameters of the base layer. Merging can be undone exactly, bit for bit."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from peft.tuners.tuners_utils import check_adapters_to_merge
from torch import Tensor, nn

from surm_bench.adapters.base_layer import check_mergeable
from surm_bench.adapters.tuner_layer import TunerLayer
from surm_bench.structured.precision import without_autocast


class MergeableLayer(TunerLayer):
    """A layer whose adapters can be merged into ``merged_parameters`` of the base layer."""

    def __init__(self, base_layer: nn.Module):
        super().__init__(base_layer)
        for name in self.merged_parameters:
            self.register_buffer(_unmerged(name), None, persistent=False)  # the value before merging

    @abstractmethod
    def merged_values(self, names: Sequence[str], originals: Sequence[Tensor | None]) -> Sequence[Tensor]:
        """Return the parameters with which the base layer alone computes the same output as with these adapters.

        Args:
            originals: the values of merged_parameters without any adapter; None for a parameter that is not there.
        """

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Merge the named (default: active) adapters into the base layer, rounding once, also under autocast.

        Raises:
            UserError: the base layer's output would not follow from the merged values.
            ValueError: safe_merge is set and a merged value is not finite; the layer is unchanged.
        """
        names = [name for name in check_adapters_to_merge(self, adapter_names) if name in self.adapters]
        if not names:
            return
        check_mergeable(self.get_base_layer(), "this layer")
        originals, every = self._originals(), [*self.merged_adapters, *names]
        given = [value for value in originals if value is not None]
        like = given[0] if given else next(self.adapters[every[0]].parameters())
        with torch.no_grad(), without_autocast(like.device):
            merged = [value.to(like.dtype) for value in self.merged_values(every, originals)]
        if safe_merge and not all(torch.isfinite(value).all() for value in merged):
            # The message begins like PEFT's, because callers match it.
            raise ValueError(
                f"NaNs detected in the merged weights. The adapter {', '.join(names)} seems to be broken: the merged "
                "weight is not finite, the layer was left as it was"
            )
        self._keep(originals)
        self._assign(merged)
        self.merged_adapters.extend(names)

    def unmerge(self) -> None:
        """Restore the values before merging, bit for bit."""
        if self.merged:
            self._assign(self._originals())
            self._keep([None] * len(self.merged_parameters))
            self.merged_adapters.clear()

    def unmerged_names(self) -> list[str]:
        """Return the adapters that forward has to apply. Adapters that are merged but disabled are unmerged first."""
        if self.disable_adapters:
            self.unmerge()
        return [] if self.disable_adapters or self.merged else self.active()

    def _originals(self) -> list[Tensor | None]:
        if self.merged:
            return [getattr(self, _unmerged(name)) for name in self.merged_parameters]
        parameters = (getattr(self.get_base_layer(), name) for name in self.merged_parameters)
        return [None if parameter is None else parameter.data for parameter in parameters]

    def _keep(self, values: Sequence[Tensor | None]) -> None:
        for name, value in zip(self.merged_parameters, values, strict=True):
            setattr(self, _unmerged(name), value)

    def _assign(self, values: Sequence[Tensor | None]) -> None:
        """Set the values of the base layer's parameters.

        The Parameter objects are kept, because an optimiser may train them, unless the layer lacks the parameter.
        """
        base = self.get_base_layer()
        for name, value in zip(self.merged_parameters, values, strict=True):
            parameter = getattr(base, name)
            if value is None or parameter is None:
                setattr(base, name, None if value is None else nn.Parameter(value, requires_grad=False))
            else:
                parameter.data = value


def _unmerged(name: str) -> str:
    return f"unmerged_{name}"
