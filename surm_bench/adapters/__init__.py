"""Structured matrices and the baselines as PEFT methods: ``get_peft_model(model, SurmConfig(...))``.

Importing this package registers our methods with PEFT. Loading a saved adapter needs this registration too.
"""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from surm_bench.adapters.methods.adaptformer import AdaptFormerConfig
from surm_bench.adapters.methods.aurora import AuroraConfig
from surm_bench.adapters.methods.compacter import CompacterConfig
from surm_bench.adapters.methods.dora_dynamic import DynamicDoraConfig
from surm_bench.adapters.methods.fact import FactConfig
from surm_bench.adapters.methods.hadamard import HadamardConfig
from surm_bench.adapters.methods.kadaptation import KAdaptationConfig
from surm_bench.adapters.methods.lora2 import Lora2Config
from surm_bench.adapters.methods.lora_fix import LoraFixConfig
from surm_bench.adapters.methods.lora_pevit import LoraPevitConfig
from surm_bench.adapters.methods.lora_xs import LoraXsConfig
from surm_bench.adapters.methods.lorta import LortaConfig
from surm_bench.adapters.methods.melora import MeloraConfig
from surm_bench.adapters.methods.repadapter import RepAdapterConfig
from surm_bench.adapters.methods.residual import ResidualAdapterConfig
from surm_bench.adapters.methods.ssf import SsfConfig
from surm_bench.adapters.methods.subset import SubsetConfig
from surm_bench.adapters.methods.surm import SurmConfig

__all__ = [
    "AdaptFormerConfig",
    "AuroraConfig",
    "CompacterConfig",
    "DynamicDoraConfig",
    "FactConfig",
    "HadamardConfig",
    "KAdaptationConfig",
    "Lora2Config",
    "LoraFixConfig",
    "LoraPevitConfig",
    "LoraXsConfig",
    "LortaConfig",
    "MeloraConfig",
    "RepAdapterConfig",
    "ResidualAdapterConfig",
    "SsfConfig",
    "SubsetConfig",
    "SurmConfig",
]
