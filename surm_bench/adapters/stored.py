"""What methods train and need not keep; our structures say it of themselves (StructuredMatrix.num_stored)."""

from peft.tuners.adalora import AdaLoraModel
from peft.tuners.boft.layer import BOFTLayer
from peft.tuners.pvera.layer import PveraLayer
from peft.tuners.vblora.layer import VBLoRALayer
from torch import nn

from surm_bench.adapters.delta import Delta


def num_spared(model: nn.Module) -> int:
    """How many fewer numbers serve the adapters of the model than are trained."""
    return sum(
        spared(module) for module in model.modules() for kind, spared in SPARED.items() if isinstance(module, kind)
    )


def _pruned(tuner: AdaLoraModel) -> int:
    """Of init_r ranks a layer target_r are left, on average over the layers."""
    config = tuner.peft_config[tuner.active_adapters[0]]
    layers = [module for module in tuner.model.modules() if isinstance(module, tuner.tuner_layer_cls)]
    return (config.init_r - config.target_r) * sum(layer.in_features + layer.out_features + 1 for layer in layers)


def _symmetric_part(layer: BOFTLayer) -> int:
    """Of each b×b block only the skew-symmetric part turns anything: b(b − 1)/2 of b² numbers."""
    return sum(r.numel() * (b + 1) // (2 * b) for r in layer.boft_R.values() for b in r.shape[-1:])


def _beyond_topk(layer: VBLoRALayer) -> int:
    """Each softmax over h vectors keeps K indices and, as they sum to one, K − 1 weights (Li et al., 2024)."""
    logits = [
        (x, layer.topk[name]) for kind in (layer.vblora_logits_A, layer.vblora_logits_B) for name, x in kind.items()
    ]
    return sum(x.numel() // x.shape[-1] * (x.shape[-1] - (2 * k - 1)) for x, k in logits)


def _variances(layer: PveraLayer) -> int:
    """Served are the means of the r numbers that training draws."""
    return sum(d.numel() // 2 for d in layer.pvera_lambda_d.values())


SPARED = {
    AdaLoraModel: _pruned,
    BOFTLayer: _symmetric_part,
    VBLoRALayer: _beyond_topk,
    PveraLayer: _variances,
    Delta: lambda delta: delta.num_spared,
}
