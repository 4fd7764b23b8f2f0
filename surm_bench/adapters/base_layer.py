"""Checks of the base layer that an adapter wraps, for all methods.

The checks tell whether the layer has to be called, whether its weight can be read, and whether its output would follow
from a changed weight.
"""

import torch
from accelerate.hooks import AlignDevicesHook
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn
from torch.nn.modules import module as modules

from surm_bench.errors import UserError

OWN_FORWARD = {kind: kind.forward for kind in (nn.Linear, nn.LayerNorm)}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_plain_linear(layer: nn.Module) -> bool:
    """Return whether calling the layer computes weight·x + bias only, so that our own product can replace the call."""
    return (
        type(layer) is nn.Linear  # a parametrised layer has a class of its own
        and getattr(layer.forward, "__func__", None) is OWN_FORWARD[nn.Linear]
        and type(layer.weight) in (nn.Parameter, Tensor)  # FSDP and DataParallel put a view in the parameter's place
        and layer.weight.is_floating_point()
        and not any(getattr(layer, name) for name in HOOKS)
        and not modules._has_any_global_hook()
    )


def dense_weight(layer: nn.Module) -> Tensor:
    """Return the weight that a Linear multiplies by, (out_features, in_features), dequantised as PEFT's LoRA does.

    Raises:
        UserError: the weight is quantised in a way that PEFT does not know.
    """
    try:
        weight = dequantize_module_weight(layer)
    except Exception as error:  # the quantiser's package may raise any error
        raise UserError(f"the weight of a {kind(layer)} cannot be dequantised: {error}".partition("\n")[0]) from error
    if weight.is_floating_point() and weight.shape == (layer.out_features, layer.in_features):
        return weight.detach()
    raise UserError(
        f"the weight of a {kind(layer)} is {weight.dtype} of shape {tuple(weight.shape)}, which PEFT cannot "
        "dequantise: load the backbone without quantisation"
    )


def why_not_mergeable(layer: nn.Module) -> str | None:
    """Return why the layer's output would not follow from a changed weight and bias by plain arithmetic, or None."""
    weight = layer._parameters.get("weight")
    if weight is None and getattr(layer, "weight", None) is not None:
        return "its weight is computed from other parameters (weight_norm, pruning, …): remove that first"
    if weight is not None and not _plain(weight):
        held = type(weight).__name__ if weight.is_floating_point() else f"{type(weight).__name__} of {weight.dtype}"
        return f"its weight is quantised or spread over devices ({held}): merge into the original backbone"
    if not _computes_its_weight_alone(layer):
        return "it computes more than its weight and bias say (a forward pass of its own, or a hook)"
    return None


def check_mergeable(layer: nn.Module, where: str) -> None:
    """Raise UserError if the layer's output would not follow from a merged weight."""
    if reason := why_not_mergeable(layer):
        raise UserError(f"adapters cannot be merged into {where}, a {kind(layer)}: {reason}")


def takes_weight_alone(parent: nn.Module, child_name: str) -> bool:
    """Return whether the parent multiplies by its child's weight and never calls the child.

    This holds for torch's MultiheadAttention and for attentions of timm (BEiT, EVA, Swin v2) that hold the biases of
    their fused qkv themselves.
    """
    own_bias = getattr(parent, "q_bias", None) is not None and not getattr(parent, "qkv_bias_separate", False)
    return isinstance(parent, nn.MultiheadAttention) or (child_name == "qkv" and own_bias)


def kind(module: nn.Module) -> str:
    """Return the name of a module's class, with its Python module if another class has the name of a torch class.

    Quantisers and tuners, for example, have classes named Linear.
    """
    cls = type(module)
    namesake = getattr(nn, cls.__name__, cls) is not cls
    return f"{cls.__module__}.{cls.__qualname__}" if namesake else cls.__name__


def _plain(parameter: Tensor | None) -> bool:
    return type(parameter) is nn.Parameter and parameter.is_floating_point()


@torch.no_grad()
def _computes_its_weight_alone(layer: nn.Module) -> bool:
    base = nn.Linear if isinstance(layer, nn.Linear) else nn.LayerNorm
    moved = isinstance(getattr(layer, "_hf_hook", None), AlignDevicesHook)  # accelerate moves weights
    forward = layer._old_forward if moved else layer.forward
    hooked = layer._forward_hooks or layer._forward_pre_hooks
    if getattr(forward, "__func__", None) is OWN_FORWARD[base] and not hooked:
        return True
    weight, bias = layer.weight, layer.bias
    like = next(layer.parameters(), torch.empty(0))
    width = layer.in_features if base is nn.Linear else layer.normalized_shape[-1]
    x = torch.arange(3 * width, dtype=torch.float32).cos().view(3, width).to(like)  # no random numbers of the run
    try:
        if base is nn.Linear:
            expected = nn.functional.linear(x, weight, bias)
        else:
            expected = nn.functional.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)
        difference = (layer(x) - expected).abs().max()
        return bool(difference <= 0.01 * expected.abs().max())
    except Exception:  # the forward pass needs other inputs
        return False
