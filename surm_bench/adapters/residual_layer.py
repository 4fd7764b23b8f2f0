"""Adapters that add to activations: h ← h + f(h) after a layer. Such an adapter cannot be merged into a weight."""

from typing import Any

from torch import Tensor, nn

from surm_bench.adapters.tuner_layer import LinearTunerLayer, Unmergeable
from surm_bench.structured.precision import parameter_dtype, under_autocast


class Branch(nn.Module):
    """An adapter whose output f(h), of the shape of h, (..., features), is added to the output of a layer."""

    def plus_output(self, y: Tensor, h: Tensor) -> Tensor:
        """Return y plus the output for h."""
        dtype = h.dtype if under_autocast(h.device) else parameter_dtype(self)
        return y + self(h.to(dtype)).to(y.dtype)


class ResidualLinear(Unmergeable, LinearTunerLayer):
    """A frozen Linear with output h, followed by the sum of h and the active adapters' outputs for h."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """(..., in_features) → (..., out_features); the other arguments go to the base layer."""
        h = self.base_layer(x, *args, **kwargs)
        return self.plus_outputs(h, h)
