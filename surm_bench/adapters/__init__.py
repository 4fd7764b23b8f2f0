"""Structured matrices and the baselines as PEFT methods: ``get_peft_model(model, SurmConfig(...))``.

Importing this package registers our methods with PEFT. Loading a saved adapter needs this registration too.
"""

import surm_bench.system.torchvision_stub  # noqa: F401

# isort: split
from surm_bench.adapters.adaptformer import AdaptFormerConfig
from surm_bench.adapters.aurora import AuroraConfig
from surm_bench.adapters.compacter import CompacterConfig
from surm_bench.adapters.dora_dynamic import DynamicDoraConfig
from surm_bench.adapters.fact import FactConfig
from surm_bench.adapters.hadamard import HadamardConfig
from surm_bench.adapters.kadaptation import KAdaptationConfig
from surm_bench.adapters.lora2 import Lora2Config
from surm_bench.adapters.lora_fix import LoraFixConfig
from surm_bench.adapters.lora_pevit import LoraPevitConfig
from surm_bench.adapters.lora_xs import LoraXsConfig
from surm_bench.adapters.lorta import LortaConfig
from surm_bench.adapters.melora import MeloraConfig
from surm_bench.adapters.repadapter import RepAdapterConfig
from surm_bench.adapters.residual import ResidualAdapterConfig
from surm_bench.adapters.ssf import SsfConfig
from surm_bench.adapters.subset import SubsetConfig
from surm_bench.adapters.surm import SurmConfig

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
