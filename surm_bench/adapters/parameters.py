"""Count the parameters that a method trains and must store. Head and backbone are counted separately."""

from peft.tuners.adalora import AdaLoraModel
from peft.tuners.boft.layer import BOFTLayer
from peft.tuners.pvera.layer import PveraLayer
from peft.tuners.vblora.layer import VBLoRALayer
from peft.utils.other import ModulesToSaveWrapper
from torch import nn

from surm_bench.adapters.delta import Delta
from surm_bench.adapters.roles import select
from surm_bench.structured import StructuredMatrix

BASELINE_RANK = 8  # rank of the baseline, LoRA on q and v


def count_parameters(model: nn.Module) -> dict[str, int]:
    """Count the parameters of a model wrapped by PEFT.

    Returns:
        adapter: trained parameters without the head. head: trained parameters in modules_to_save. other: the frozen
        rest of the backbone. total: the sum of adapter, head and other, the parameters of the running model.
        stored: numbers to keep per task to serve the adapter, without the head. stored is less than adapter if a
        method trains more numbers than it needs (a circulant keeps d of 2d numbers). Numbers that are drawn from a
        seed or taken from the backbone, and are not trained, are counted nowhere.
    """
    wrappers = [m for m in model.modules() if isinstance(m, ModulesToSaveWrapper)]
    head = {id(p): p.numel() for w in wrappers for p in w.modules_to_save.parameters()}
    replaced = {id(p) for w in wrappers for p in w.original_module.parameters()}
    replaced -= {  # tied: the original head's weight is also another module's, such as the embedding's
        id(p) for name, p in model.named_parameters(remove_duplicate=False) if ".original_module." not in name
    }
    rest = [p for p in model.parameters() if id(p) not in head and id(p) not in replaced]
    adapter = sum(p.numel() for p in rest if p.requires_grad)
    other = sum(p.numel() for p in rest if not p.requires_grad)
    return {
        "adapter": adapter,
        "head": sum(head.values()),
        "other": other,
        "total": adapter + sum(head.values()) + other,
        "stored": adapter - _num_spared(model),
    }


def lora_parameters(model: nn.Module, roles: dict[str, list[str]], r: int = BASELINE_RANK) -> int:
    """Count the parameters that LoRA of rank r on q and v trains: r·(in + out) a layer (Hu et al., 2021)."""
    layers = (model.get_submodule(name) for name in select(roles, ("q", "v")))
    return sum(r * (layer.in_features + layer.out_features) for layer in layers)


def _num_spared(model: nn.Module) -> int:
    """Return the number of trained values minus the number of values needed to serve the model's adapters."""
    return sum(
        spared(module) for module in model.modules() for kind, spared in SPARED.items() if isinstance(module, kind)
    )


def _pruned(tuner: AdaLoraModel) -> int:
    """Count the cut ranks: each layer starts with init_r ranks and keeps target_r, on average over the layers."""
    config = tuner.peft_config[tuner.active_adapters[0]]
    layers = [module for module in tuner.model.modules() if isinstance(module, tuner.tuner_layer_cls)]
    return (config.init_r - config.target_r) * sum(layer.in_features + layer.out_features + 1 for layer in layers)


def _symmetric_part(layer: BOFTLayer) -> int:
    """Count the symmetric parts: only a b×b block's skew-symmetric part has an effect, b(b − 1)/2 of b² numbers."""
    return sum(r.numel() * (b + 1) // (2 * b) for r in layer.boft_R.values() for b in r.shape[-1:])


def _beyond_topk(layer: VBLoRALayer) -> int:
    """Count the dropped logits.

    Each softmax over h vectors keeps K indices and K − 1 weights, because the weights sum to one (Li et al., 2024).
    """
    logits = [
        (x, layer.topk[name]) for kind in (layer.vblora_logits_A, layer.vblora_logits_B) for name, x in kind.items()
    ]
    return sum(x.numel() // x.shape[-1] * (x.shape[-1] - (2 * k - 1)) for x, k in logits)


def _variances(layer: PveraLayer) -> int:
    """Count the variances: training draws r numbers from means and variances, and serving needs the means alone."""
    return sum(d.numel() // 2 for d in layer.pvera_lambda_d.values())


SPARED = {
    AdaLoraModel: _pruned,
    BOFTLayer: _symmetric_part,
    VBLoRALayer: _beyond_topk,
    PveraLayer: _variances,
    Delta: lambda delta: delta.num_spared,
    StructuredMatrix: lambda matrix: matrix.algebra.num_spared,
}
