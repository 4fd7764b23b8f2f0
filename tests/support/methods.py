"""Every adapter method of surm-bench by name, with the sizes of the small RoBERTa; what PEFT users expect of a method
is tested over all of them."""

import copy
from functools import cache

import pytest
from peft import PeftModel, get_peft_model
from support.cases import slow_but
from support.roberta import backbone, stir

from surm_bench.adapters import (
    AdaptFormerConfig,
    AuroraConfig,
    CompacterConfig,
    DynamicDoraConfig,
    FactConfig,
    HadamardConfig,
    KAdaptationConfig,
    Lora2Config,
    LoraFixConfig,
    LoraPevitConfig,
    LoraXsConfig,
    LortaConfig,
    MeloraConfig,
    RepAdapterConfig,
    ResidualAdapterConfig,
    SsfConfig,
    SurmConfig,
)
from surm_bench.structured import STRUCTURES

HEAD = ["classifier"]
DELTAS = {name: {"structure": name} for name in STRUCTURES} | {
    "toeplitz_product": {"structure": "product", "options": {"parts": [{"structure": "toeplitz"}] * 2}},
    "circulant_low_rank": {
        "structure": "sum",
        "options": {"parts": [{"structure": "circulant"}, {"structure": "low_rank", "r": 2}]},
    },
}
RESIDUALS = {f"adapter_{name}": {"structure": name} for name in STRUCTURES} | {
    "houlsby": {"bottleneck": 6},
    "pfeiffer": {"bottleneck": 6, "placement": "pfeiffer", "activation": "relu"},
}

LITERATURE = {
    "hadamard": (HadamardConfig, {}),
    "lora_xs": (LoraXsConfig, {"r": 3, "alpha": 6.0}),
    "lorta": (LortaConfig, {"r": 3}),
    "melora": (MeloraConfig, {"n": 4, "r": 2}),
    "lora_fix": (LoraFixConfig, {"r": 3}),
    "kadaptation": (KAdaptationConfig, {"n": 4, "alpha": 1.0}),
    "dora_dynamic": (DynamicDoraConfig, {"r": 2, "dropout": 0.0}),
    "lora2": (Lora2Config, {"r": 4, "target_r": 2, "k": 3, "alpha": 400.0}),
    "aurora": (AuroraConfig, {"r": 3, "dropout": 0.0, "target_modules": ["query", "value"]}),
    "fact": (FactConfig, {"r": 3, "dropout": 0.0, "target_modules": ["query", "value"]}),
    "ssf": (SsfConfig, {}),
    "repadapter": (RepAdapterConfig, {"bottleneck": 4, "dropout": 0.0}),
}
BESIDE = {  # these add to activations, as the residual adapters do
    "compacter": (CompacterConfig, {"n": 2, "reduction": 2}),
    "adaptformer": (AdaptFormerConfig, {"bottleneck": 6, "scale": 1.0, "dropout": 0.0}),
    "lora_pevit": (LoraPevitConfig, {"r": 3, "alpha": 6.0}),
}
METHODS = (SurmConfig, ResidualAdapterConfig, *(config for config, _ in (LITERATURE | BESIDE).values()))
PREFIXES = tuple(f"{config.method}_" for config in METHODS)


def method(name: str, **fields):
    if name in DELTAS:
        return SurmConfig(**DELTAS[name], **fields)
    if name in RESIDUALS:
        return ResidualAdapterConfig(**RESIDUALS[name], **fields)
    config, own = (LITERATURE | BESIDE)[name]
    return config(**own, **fields)


@cache
def _attached(name: str) -> PeftModel:
    return stir(get_peft_model(backbone(), method(name, modules_to_save=HEAD)))


def attached(name: str) -> PeftModel:
    """Return a copy of the backbone with a method and a trained head, moved away from its start. Attached only once."""
    return copy.deepcopy(_attached(name))


# Structures differ in their parameters alone: PEFT's promises are kept by the layers that all structures share.
STRUCTURES_ALIKE = ("symmetric_toeplitz", "toeplitz", "ldr")
ALIKE = (*STRUCTURES_ALIKE, *(f"adapter_{name}" for name in (*STRUCTURES_ALIKE, "kronecker", "low_rank")))
METHOD_NAMES = (*DELTAS, *RESIDUALS, *LITERATURE, *BESIDE)
every_method = pytest.mark.parametrize("name", slow_but(set(METHOD_NAMES) - set(ALIKE), METHOD_NAMES))
every_linear_method = pytest.mark.parametrize("name", [*DELTAS, *LITERATURE])
every_delta = pytest.mark.parametrize("name", DELTAS)
