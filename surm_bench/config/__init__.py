"""The configuration of a run: its keys, its composition from files, its checks and its identity. No torch here."""

from surm_bench.config.schema import (
    AdapterConfig,
    Config,
    ModelConfig,
    OptimizerConfig,
    TaskConfig,
    TrackingConfig,
    TrainerConfig,
)

__all__ = [
    "AdapterConfig",
    "Config",
    "ModelConfig",
    "OptimizerConfig",
    "TaskConfig",
    "TrackingConfig",
    "TrainerConfig",
]
