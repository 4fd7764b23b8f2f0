"""Facts about each method for tables and checks, by the class of its PEFT config. No torch: no class is imported."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from surm_bench.config.adapter import class_name


class Method(NamedTuple):
    """Facts about a method that hold for all its fields."""

    family: str  # the kind of method in tables and figures
    mixes_examples: bool = False  # whether the prediction for an example depends on the rest of its batch
    cuts_ranks: bool = False  # whether ranks are cut during training, so that only its end has the configured number


METHODS = {
    "surm_bench.SurmConfig": Method("structured"),
    "surm_bench.AdaptFormerConfig": Method("bottleneck"),
    "surm_bench.RepAdapterConfig": Method("bottleneck"),
    "surm_bench.ResidualAdapterConfig": Method("bottleneck"),
    "surm_bench.SubsetConfig": Method("own parameters"),
    "surm_bench.AuroraConfig": Method("LoRA"),
    "surm_bench.DynamicDoraConfig": Method("LoRA", cuts_ranks=True),
    "surm_bench.FactConfig": Method("LoRA"),
    "surm_bench.Lora2Config": Method("LoRA", cuts_ranks=True),
    "surm_bench.LoraFixConfig": Method("LoRA"),
    "surm_bench.LoraPevitConfig": Method("LoRA", mixes_examples=True),
    "surm_bench.LoraXsConfig": Method("LoRA"),
    "surm_bench.LortaConfig": Method("LoRA"),
    "surm_bench.MeloraConfig": Method("LoRA"),
    "peft.AdaLoraConfig": Method("LoRA", cuts_ranks=True),
    "peft.DeloraConfig": Method("LoRA"),
    "peft.GloraConfig": Method("LoRA"),
    "peft.GraloraConfig": Method("LoRA"),
    "peft.HiraConfig": Method("LoRA"),
    "peft.LoHaConfig": Method("LoRA"),
    "peft.LoKrConfig": Method("LoRA"),
    "peft.LoraConfig": Method("LoRA"),
    "peft.PveraConfig": Method("LoRA"),
    "peft.RandLoraConfig": Method("LoRA"),
    "peft.TinyLoraConfig": Method("LoRA"),
    "peft.UniLoraConfig": Method("LoRA"),
    "peft.VBLoRAConfig": Method("LoRA"),
    "peft.VeraConfig": Method("LoRA"),
    "surm_bench.CompacterConfig": Method("other PEFT"),
    "surm_bench.HadamardConfig": Method("other PEFT"),
    "surm_bench.KAdaptationConfig": Method("other PEFT"),
    "surm_bench.SsfConfig": Method("other PEFT"),
    "peft.AdamssConfig": Method("other PEFT"),
    "peft.BeftConfig": Method("other PEFT"),
    "peft.BOFTConfig": Method("other PEFT"),
    "peft.C3AConfig": Method("other PEFT"),
    "peft.DeftConfig": Method("other PEFT"),
    "peft.FourierFTConfig": Method("other PEFT"),
    "peft.HRAConfig": Method("other PEFT"),
    "peft.IA3Config": Method("other PEFT"),
    "peft.MissConfig": Method("other PEFT"),
    "peft.OFTConfig": Method("other PEFT"),
    "peft.PeanutConfig": Method("other PEFT"),
    "peft.PrefixTuningConfig": Method("other PEFT"),
    "peft.PsoftConfig": Method("other PEFT"),
    "peft.RoadConfig": Method("other PEFT"),
    "peft.ShiraConfig": Method("other PEFT"),
    "peft.WaveFTConfig": Method("other PEFT"),
}


def method_of(peft: Mapping[str, Any]) -> Method:
    """Return the facts about the method of a PEFT config; a method without an entry in METHODS is "other PEFT"."""
    return METHODS.get(class_name(str(peft.get("_target_", ""))), Method("other PEFT"))
