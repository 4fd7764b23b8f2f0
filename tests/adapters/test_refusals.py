"""Impossible settings of our adapters are refused with one line that names the possible ones."""

import pytest
from peft import get_peft_model
from support.roberta import backbone
from torch import nn

from surm_bench.adapters import (
    AdaptFormerConfig,
    CompacterConfig,
    HadamardConfig,
    KAdaptationConfig,
    LoraFixConfig,
    LoraPevitConfig,
    LoraXsConfig,
    LortaConfig,
    MeloraConfig,
    ResidualAdapterConfig,
    SurmConfig,
)
from surm_bench.errors import UserError


def adapt(**fields):
    return get_peft_model(backbone(), SurmConfig(**fields))


ERRORS = {
    "unknown structure 'circulent': choose from circulant, .*kronecker, ldr": lambda: SurmConfig(structure="circulent"),
    "structure 'circulant' takes no 'r'": lambda: SurmConfig(structure="circulant", r=4),
    "structure=None with bottleneck=None is not possible": lambda: ResidualAdapterConfig(),
    "structure=.circulant. with bottleneck=4 is not possible: .* exactly one": lambda: ResidualAdapterConfig(
        structure="circulant", bottleneck=4
    ),
    "bottleneck=0 is not possible: at least 1": lambda: ResidualAdapterConfig(bottleneck=0),
    "choose from houlsby, pfeiffer": lambda: ResidualAdapterConfig(bottleneck=4, placement="everywhere"),
    "choose from gelu, identity": lambda: ResidualAdapterConfig(bottleneck=4, activation="elu"),
    "'relu' has no gradient at zero": lambda: ResidualAdapterConfig(structure="circulant", activation="relu"),
    r"r=5 does not divide both 24 and 24: choose from \[1, 2, 3, 4, 6": lambda: adapt(structure="kronecker", r=5),
    r"'quary' matches no layer.*layer.N.attention.self.query \(×2\)": lambda: adapt(target_modules=["quary"]),
    "'valeu' matches no layer": lambda: adapt(target_modules=["query", "valeu"]),
    r"quary' matches no layer. Linear layers: ": lambda: adapt(target_modules=r".*\.quary"),
    r"ambiguous, it matches roberta.encoder.layer.N.attention.output.dense, roberta.encoder.layer.N.output.dense": (
        lambda: adapt(target_modules=["output.dense"])
    ),
    "is a Embedding, not a Linear": lambda: adapt(target_modules=["word_embeddings"]),
    "dropout=1.5 is not possible": lambda: SurmConfig(dropout=1.5),
    "alpha='2' is not possible": lambda: SurmConfig(alpha="2"),
    "no role map fits": lambda: get_peft_model(nn.Sequential(nn.Linear(4, 4)), SurmConfig()),
}


MISFITS = {
    "n=5 does not divide both sizes of a layer of 24×24": lambda: get_peft_model(backbone(), MeloraConfig(n=5)),
    "n=0 is not possible": lambda: MeloraConfig(n=0),
    "r=25 is not possible: at most 24": lambda: get_peft_model(backbone(), LoraXsConfig(r=25)),
    "r=0 is not possible": lambda: LoraXsConfig(r=0),
    "heads=-4 is not possible: at least 1": lambda: LortaConfig(heads=-4),
    "r=null is not possible: at least 1": lambda: LoraFixConfig(r=None),
    "r=8 is not possible": lambda: LoraFixConfig(r="8"),
    "heads=0 is not possible: at least 1": lambda: LoraPevitConfig(heads=0),
    "heads=5 does not divide 24, the features of": lambda: get_peft_model(backbone(), LortaConfig(heads=5)),
    "number of attention heads of this model is unknown: set heads": lambda: get_peft_model(
        nn.Sequential(nn.Linear(4, 4)), LortaConfig(target_modules=["0"])
    ),
    "1, of 4×12, has another size than the first layer": lambda: get_peft_model(
        nn.Sequential(nn.Linear(8, 12), nn.Linear(12, 4)), LortaConfig(target_modules=["0", "1"], heads=2)
    ),
    "r=0 is not possible: at least 1": lambda: LoraFixConfig(r=0),
    "heads=7 does not divide 24, the features of": lambda: get_peft_model(backbone(), LoraPevitConfig(heads=7)),
    "n=7 does not divide both sizes of a layer of 24×24": lambda: get_peft_model(backbone(), KAdaptationConfig(n=7)),
    "n=-1 is not possible": lambda: KAdaptationConfig(n=-1),
    "n=4 does not divide both a layer's width, 24, and its bottleneck, 24/16": lambda: get_peft_model(
        backbone(), CompacterConfig()
    ),
    "reduction=0 is not possible": lambda: CompacterConfig(reduction=0),
    "bottleneck=0 is not possible: at least 1": lambda: AdaptFormerConfig(bottleneck=0),
    "dropout=1 is not possible": lambda: AdaptFormerConfig(dropout=1),
    "is a Linear, not the module of an MLP": lambda: get_peft_model(
        backbone(), AdaptFormerConfig(target_modules=["query"])
    ),
    "is a Embedding, not a Linear or LayerNorm": lambda: get_peft_model(
        backbone(), HadamardConfig(target_modules=["word_embeddings"])
    ),
}


@pytest.mark.parametrize(("message", "make"), (ERRORS | MISFITS).items(), ids=ERRORS | MISFITS)
def test_errors_say_what_is_possible(message, make):
    with pytest.raises(UserError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
