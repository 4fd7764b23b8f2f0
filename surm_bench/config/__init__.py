"""The configuration of a run: its keys, its composition from files, its checks and its identity. No torch here."""

from surm_bench.config.adapter import AdapterConfig
from surm_bench.config.model import ModelConfig
from surm_bench.config.optimizer import OptimizerConfig
from surm_bench.config.schema import Config
from surm_bench.config.task import TaskConfig
from surm_bench.config.tracking import TrackingConfig
from surm_bench.config.trainer import TrainerConfig

__all__ = [
    "AdapterConfig",
    "Config",
    "ModelConfig",
    "OptimizerConfig",
    "TaskConfig",
    "TrackingConfig",
    "TrainerConfig",
]
