"""Count trained numbers that need not be stored. Our structures count theirs (StructuredMatrix.num_stored)."""

from peft.tuners.adalora import AdaLoraModel
from peft.tuners.boft.layer import BOFTLayer
from peft.tuners.pvera.layer import PveraLayer
from peft.tuners.vblora.layer import VBLoRALayer
from torch import nn

from surm_bench.adapters.delta import Delta


def num_spared(model: nn.Module) -> int:
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
}
