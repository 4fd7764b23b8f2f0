"""The configuration of a task of configs/task."""

from omegaconf import OmegaConf

from surm_bench.config import TaskConfig
from surm_bench.system.installation import config_dir


def task_config(name: str, **changes) -> TaskConfig:
    yaml = OmegaConf.load(config_dir() / "task" / f"{name}.yaml")
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), yaml, changes))
