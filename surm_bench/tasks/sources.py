"""Where splits come from: a local folder of parquet files, the hub, or a generator of this package."""

from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pyarrow
import pyarrow.parquet
from datasets import Dataset, load_dataset

from surm_bench.config import TaskConfig
from surm_bench.errors import UserError, unknown
from surm_bench.hub import hub_access


class Split(NamedTuple):
    """A split as it was read, and where from, for error messages."""

    dataset: Dataset
    origin: str


def read_splits(config: TaskConfig) -> tuple[Split, Split]:
    """The training and the reported split, columns renamed. Local data go before the task's own source."""
    if config.data_dir is not None:
        train, evaluation = map(_read_parquet, local_files(config))
    elif config.source == "hub":
        train, evaluation = _from_hub(config)
    elif config.source == "embedded":
        train, evaluation = _generated(config)
    else:
        raise unknown("task source", config.source, ("hub", "embedded"))
    return _renamed(train, config), _renamed(evaluation, config)


def _renamed(split: Split, config: TaskConfig) -> Split:
    names = {old: new for old, new in config.rename.items() if old in split.dataset.column_names}
    return Split(split.dataset.rename_columns(names), split.origin)


def local_files(config: TaskConfig) -> tuple[Path, Path]:
    """The parquet files of the training and the reported split below ``task.data_dir``.

    Raises:
        UserError: one of them is missing; the message says what is expected where.
    """
    folder = Path(config.data_dir).expanduser() / config.name.rpartition("/")[-1]
    train, evaluation = folder / "train.parquet", folder / f"{config.eval_split}.parquet"
    if not evaluation.is_file():  # a folder may simply call its reported split validation (MNLI's has two)
        evaluation = folder / "validation.parquet" if (folder / "validation.parquet").is_file() else evaluation
    missing = [str(file) for file in (train, evaluation) if not file.is_file()]
    if missing:
        raise UserError(
            f"task.data_dir={config.data_dir} does not hold {' and '.join(missing)}: expected {folder}/train.parquet "
            f"and {folder}/{config.eval_split}.parquet (or validation.parquet)"
        )
    return train, evaluation


def _read_parquet(file: Path) -> Split:
    """Straight into memory: load_dataset would copy the data to a cache first."""
    try:
        return Split(Dataset(pyarrow.parquet.read_table(file)), str(file))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{file} is not a readable parquet file: {str(error).splitlines()[0]}") from error


def _from_hub(config: TaskConfig) -> tuple[Split, Split]:
    names = [config.train_split, config.eval_split]
    with hub_access(config.dataset):
        splits = load_dataset(config.dataset, config.subset, split=names, revision=config.revision)
    origin = "/".join(filter(None, (config.dataset, config.subset)))
    train, evaluation = (Split(split, f"{origin}, split {name}") for split, name in zip(splits, names, strict=True))
    return train, evaluation


def _generated(config: TaskConfig) -> tuple[Split, Split]:
    generator = import_module(f"surm_bench.tasks.embedded.{config.dataset}")
    splits = generator.load(config.name.rpartition("/")[-1])
    train, evaluation = (
        Split(splits[name], f"{config.name}, split {name}") for name in (config.train_split, config.eval_split)
    )
    return train, evaluation
