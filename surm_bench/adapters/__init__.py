"""Structured matrices and the baselines as PEFT methods: ``get_peft_model(model, SurmConfig(...))``.

Importing this room registers SURM, RESIDUAL and SUBSET with PEFT, as loading a saved adapter also needs.
"""

import surm_bench.torchvision_stub  # noqa: F401

# isort: split
import warnings

from surm_bench.adapters.residual import ResidualAdapterConfig
from surm_bench.adapters.subset import SubsetConfig
from surm_bench.adapters.surm import SurmConfig

# peft 0.21 asks transformers 5 for an attribute by its old name, at every wrapping and loading
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)

__all__ = ["ResidualAdapterConfig", "SubsetConfig", "SurmConfig"]
