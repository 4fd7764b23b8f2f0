"""The effect of a run on the pretrained model: the change of q and v, and the features that the head sees."""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from surm_bench.models import Backbone
from surm_bench.training import make_accelerator, predict


@dataclass(frozen=True)
class AdaptedModel:
    """A pretrained model with the adapter of a run, or a reference model.

    Attributes:
        label: the label of the method or reference.
        seed: the seed of the run; None without a run.
        deltas: layer name -> ΔW (d_out, d_in), fp64.
        features: (N, d), of every example of the reported split, fp64.
    """

    label: str
    seed: int | None
    deltas: dict[str, np.ndarray]
    features: np.ndarray


def qv_layers(backbone: Backbone) -> list[str]:
    """Return the names of the q and v layers, block by block."""
    return [name for pair in zip(backbone.roles["q"], backbone.roles["v"], strict=True) for name in pair]


def weights(backbone: Backbone) -> dict[str, np.ndarray]:
    """Return the pretrained W0 (d_out, d_in) of each q and v layer, fp64."""
    return {name: _numpy(backbone.module.get_submodule(name).weight) for name in qv_layers(backbone)}


def deltas(module: nn.Module, backbone: Backbone) -> dict[str, np.ndarray]:
    """Return ΔW of each q and v layer.

    ΔW is the adapter's delta, or the trained minus the pretrained weight if the layer itself was trained.

    Args:
        module: the tuned model with its adapters, not merged (``PeftModel.get_base_model()``).
        backbone: the same model before tuning.
    """
    deltas = {}
    for name, pretrained in weights(backbone).items():
        layer = module.get_submodule(name)
        if hasattr(layer, "get_delta_weight"):
            deltas[name] = sum(_numpy(layer.get_delta_weight(adapter)) for adapter in layer.active_adapters)
        else:
            deltas[name] = _numpy(layer.weight) - pretrained
    return deltas


def features(module: nn.Module, backbone: Backbone, loader: DataLoader) -> np.ndarray:
    """Return the inputs of the head, (N, d), in fp64: pooled features for images, the first token's features for text.

    Args:
        module: the backbone's module, or a module made from it with the same names.
        backbone: the backbone, which names the head.
        loader: batches of examples with "labels".
    """
    seen: list[Tensor] = []

    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append(inputs[0][:, 0] if inputs[0].ndim == 3 else inputs[0])

    hook = module.get_submodule(backbone.roles["head"][0]).register_forward_pre_hook(keep)
    accelerator = make_accelerator("no")
    try:
        predict(*accelerator.prepare(module, loader), accelerator)
    finally:
        hook.remove()
    return _numpy(torch.cat(seen))


def pretrained(label: str, backbone: Backbone, loader: DataLoader) -> AdaptedModel:
    """Return the model before any run."""
    zeros = {name: np.zeros_like(weight) for name, weight in weights(backbone).items()}
    return AdaptedModel(label, None, zeros, features(backbone.module, backbone, loader))


def random_like(label: str, reference: AdaptedModel, backbone: Backbone, loader: DataLoader) -> AdaptedModel:
    """Return the pretrained model plus Gaussian ΔW with the reference's seed and Frobenius norm in each layer."""
    rng = np.random.default_rng(reference.seed)
    drawn, module = {}, copy.deepcopy(backbone.module)
    for name, delta in reference.deltas.items():
        noise = rng.standard_normal(delta.shape)
        drawn[name] = noise * (np.linalg.norm(delta) / np.linalg.norm(noise))
        weight = module.get_submodule(name).weight
        weight.data += torch.as_tensor(drawn[name], dtype=weight.dtype, device=weight.device)
    return AdaptedModel(label, reference.seed, drawn, features(module, backbone, loader))


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy()
