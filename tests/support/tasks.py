"""The configuration of a task of configs/task, and a folder with rows of GLUE's RTE."""

from pathlib import Path

import pyarrow.parquet
from omegaconf import OmegaConf

from surm_bench.config import ModelConfig, TaskConfig
from surm_bench.system.installation import config_dir

VIT_DIGITS = ModelConfig(name="vit_digits", family="vision", source="embedded", checkpoint="vit_digits")


def task_config(name: str, **changes) -> TaskConfig:
    yaml = OmegaConf.load(config_dir() / "task" / f"{name}.yaml")
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TaskConfig), yaml, changes))


def write_rte(folder: Path, rows: int = 40, **columns) -> str:
    """A folder that can be task.data_dir, with glue/rte's columns unless others are given (None leaves one out)."""
    own = {
        "sentence1": [f"premise {i}" for i in range(rows)],
        "sentence2": [f"hypothesis {i}" for i in range(rows)],
        "label": [i % 2 for i in range(rows)],
    }
    table = pyarrow.table({name: values for name, values in {**own, **columns}.items() if values is not None})
    (folder / "rte").mkdir()
    for split in ("train", "validation"):
        pyarrow.parquet.write_table(table, folder / "rte" / f"{split}.parquet")
    return str(folder)
